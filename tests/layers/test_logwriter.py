"""Lines that are written together are those that records would have become."""

import io
import logging
import logging.handlers
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_asgi_deploy.layers import logwriter

LINES = ["first", "second, with ünïcödé", "third"]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.Logger("apart")  # not in the tree, so there is no handler of pytest's above it
    yield made
    for handler in made.handlers:
        handler.close()


def record(line: str = "the last") -> logging.LogRecord:
    return logging.LogRecord("apart", logging.INFO, __file__, 1, line, None, None)


def written(logger: logging.Logger) -> bool:
    """Whether the lines could be written together; otherwise each was handled as a record."""
    handlers = logwriter.plain_handlers(logger, logging.INFO)
    if handlers is None:
        for line in LINES:
            logger.handle(record(line))
        return False
    logwriter.write(handlers, LINES, record)
    return True


def formatted(text: str, style: str = "%") -> logging.StreamHandler[io.StringIO]:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter(text, style=style))  # type: ignore[arg-type]
    return handler


def ending_in_zero() -> logging.StreamHandler[io.StringIO]:
    handler = logging.StreamHandler(io.StringIO())
    handler.terminator = "\0"
    return handler


def filtered() -> logging.StreamHandler[io.StringIO]:
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(lambda record: record.getMessage() != "first")
    return handler


@pytest.mark.parametrize(
    ("make", "together", "expected"),
    [
        (lambda: logging.StreamHandler(io.StringIO()), True, "".join(f"{line}\n" for line in LINES)),
        (lambda: formatted("%(message)s"), True, "".join(f"{line}\n" for line in LINES)),
        (lambda: formatted("{message}", "{"), True, "".join(f"{line}\n" for line in LINES)),
        (ending_in_zero, True, "".join(f"{line}\0" for line in LINES)),
        (lambda: formatted("%(levelname)s %(message)s"), False, "".join(f"INFO {line}\n" for line in LINES)),
        (filtered, False, "".join(f"{line}\n" for line in LINES[1:])),
    ],
)
def test_a_stream_gets_the_same_either_way(
    logger: logging.Logger,
    make: Callable[[], "logging.StreamHandler[io.StringIO]"],
    together: bool,
    expected: str,
) -> None:
    handler = make()
    logger.addHandler(handler)
    assert written(logger) == together
    assert handler.stream.getvalue() == expected


@pytest.mark.parametrize(
    "of_the_logger",
    [
        lambda logger: logger.addHandler(logging.handlers.QueueHandler(queue.Queue())),
        lambda logger: logger.addHandler(logging.handlers.MemoryHandler(10)),
        lambda logger: logger.addFilter(lambda record: True),
    ],
)
def test_who_wants_records_gets_them(logger: logging.Logger, of_the_logger: Callable[[logging.Logger], None]) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    of_the_logger(logger)
    assert logwriter.plain_handlers(logger, logging.INFO) is None


def test_a_record_factory_and_a_patched_way_of_records_get_them_too(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry's SDK puts a function of its own in the place of callHandlers()."""
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    assert logwriter.plain_handlers(logger, logging.INFO) is not None
    with monkeypatch.context() as patch:
        patch.setattr(logging.Logger, "callHandlers", lambda logger, record: None)
        assert logwriter.plain_handlers(logger, logging.INFO) is None
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *args, **kwargs: before(*args, **kwargs))
    try:
        assert logwriter.plain_handlers(logger, logging.INFO) is None
    finally:
        logging.setLogRecordFactory(before)


def test_handlers_of_the_parents_and_the_levels_count_as_they_do_for_records() -> None:
    top, middle, bottom = logging.Logger("top"), logging.Logger("middle"), logging.Logger("bottom")
    bottom.parent, middle.parent = middle, top
    plain, deaf, formatting = logging.StreamHandler(io.StringIO()), logging.NullHandler(), formatted("! %(message)s")
    bottom.addHandler(plain)
    deaf.setLevel(logging.ERROR)
    middle.addHandler(deaf)
    top.addHandler(formatting)
    assert logwriter.plain_handlers(bottom, logging.INFO) is None
    middle.propagate = False
    assert logwriter.plain_handlers(bottom, logging.INFO) == [plain]
    bottom.removeHandler(plain)
    assert logwriter.plain_handlers(bottom, logging.INFO) == []


@pytest.mark.parametrize("kind", [logging.FileHandler, logging.handlers.WatchedFileHandler])
def test_a_file_gets_them_and_a_watched_one_that_was_moved_is_made_anew(
    logger: logging.Logger, tmp_path: Path, kind: type[logging.FileHandler]
) -> None:
    file = tmp_path / "requests.log"
    logger.addHandler(kind(file, encoding="utf-8"))
    assert written(logger)
    file.rename(tmp_path / "requests.log.1")
    assert written(logger)
    old = (tmp_path / "requests.log.1").read_text(encoding="utf-8").splitlines()
    if kind is logging.FileHandler:
        assert old == LINES * 2
    else:
        assert old == file.read_text(encoding="utf-8").splitlines() == LINES


def test_a_file_that_is_opened_late_is_opened_by_its_first_record(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    logger.addHandler(logging.FileHandler(file, delay=True, encoding="utf-8"))
    assert not written(logger)
    assert written(logger)
    assert file.read_text(encoding="utf-8").splitlines() == LINES * 2


class Pieces(io.StringIO):
    """Notes what is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_no_piece_is_larger_than_a_pipe_keeps_whole_unless_a_line_is(logger: logging.Logger) -> None:
    stream = Pieces()
    handler = logging.StreamHandler(stream)
    lines = [f"{number} {'x' * number}" for number in range(300)] + ["y" * 9000] + ["é" * 1500] * 3
    logwriter.write([handler], lines, record)
    assert stream.getvalue().splitlines() == lines
    for piece in stream.pieces:
        assert len(piece.encode()) <= 4096 or piece.count("\n") == 1
    assert len(stream.pieces) < 30


def test_a_stream_that_fails_is_reported_as_logging_reports_it(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    stream.close()
    logwriter.write([logging.StreamHandler(stream)], LINES, record)
    said = capsys.readouterr().err
    assert "--- Logging error ---" in said
    assert "Message: 'the last'" in said


def test_nothing_to_write_writes_nothing(logger: logging.Logger) -> None:
    stream = Pieces()
    logwriter.write([logging.StreamHandler(stream)], [], record)
    assert stream.pieces == []
