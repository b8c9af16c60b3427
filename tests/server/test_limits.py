"""What a client may send, and how long it may take: rows 7 and 7s of the table of faults, against a real server."""

import re
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.bad_input import CASES, HOST, SITE_URLS, Case, get, post
from tests.utils import DEADLINE_SECONDS, Server, Site, duration

URLS = (
    SITE_URLS
    + """
    import time
    from django.http import StreamingHttpResponse

    async def pour(request):
        async def water():
            while True:
                yield b"w" * 65536
        return StreamingHttpResponse(water())

    async def block(request):
        print("blocking", flush=True)
        time.sleep(5)
        return HttpResponse("unblocked")

    def late(request):
        time.sleep(4)
        return HttpResponse(request.body)

    def probe(request):
        return HttpResponse("PROBE")

    def early(request):
        return HttpResponse("early")

    views = [pour, block, late, early, probe]
    urlpatterns += [path(view.__name__, view) for view in views]
"""
)
SECONDS = ["--header-timeout-seconds", "3", "--body-timeout-seconds", "3", "--send-timeout-seconds", "3"]
HTTPS = ["httptools", "h11"]
UNFINISHED = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\nX-Slow: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def site(folder: Path) -> Site:
    site = Site(folder, mysite__urls=URLS)
    site.append("mysite/settings", "DEBUG = False\nALLOWED_HOSTS = ['127.0.0.1']\n")
    return site


@pytest.fixture(
    scope="module", params=[("httptools", 1), ("h11", 1), ("httptools", 2)], ids=lambda it: f"{it[0]} x {it[1]}"
)
def server(request: pytest.FixtureRequest, site: Site) -> Iterator[Server]:
    """With short deadlines, by each protocol, and by two workers under a supervisor."""
    http, workers = request.param
    with site.serve("--http", http, "--workers", str(workers), "--keep-alive-seconds", "3", *SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def quick(site: Site) -> Iterator[Server]:
    """As ``server``, with httptools alone: what the protocols share needn't be waited for twice."""
    with site.serve("--keep-alive-seconds", "3", *SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def patient(site: Site) -> Iterator[Server]:
    """What it doesn't close at once stays open for longer than a test waits."""
    with site.serve("--keep-alive-seconds", "600") as server:
        yield server


def answer(server: Server, sent: bytes, *, stays_open: bool = False, ends: bool = False) -> bytes:
    """Everything that comes back until the server closes; or, if it should stay open, until one more request is
    answered there, without the answer to that.
    """
    with server.connect() as sock:
        sender = threading.Thread(target=_send, args=(sock, sent, ends))
        sender.start()
        received = read_until(sock, b"HTTP/1.1 ", b"") if stays_open else until_closed(sock)
        sender.join(DEADLINE_SECONDS)
        if stays_open:
            sock.sendall(get(b"/probe"))
            received = read_until(sock, b"PROBE", received)
            received = received[: received.rindex(b"HTTP/1.1 ")]
    return received


def read_until(sock: socket.socket, end: bytes, received: bytes = b"") -> bytes:
    while end not in received:
        chunk = sock.recv(65536)
        assert chunk, f"closed after {received!r}"
        received += chunk
    return received


def _send(sock: socket.socket, data: bytes, ends: bool = False) -> None:
    try:
        sock.sendall(data)
        if ends:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is cut, which is seen where it is read


def words(case: Case) -> set[bytes]:
    return set(re.findall(rb"[\w-]+", case.sent))


def statuses(received: bytes) -> str:
    return "+".join(re.findall(r"HTTP/1\.[01] (\d{3})", received.decode("latin-1"))) or "no answer"


def until_closed(sock: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := sock.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


# ------------------------------------------------------------------ what is sent


@pytest.mark.parametrize(
    "case",
    [each for each in CASES if {b"Content-Length", b"Transfer-Encoding"} <= words(each)],
    ids=lambda each: each.name,
)
def test_a_request_that_gives_its_length_in_two_ways_is_refused_whatever_parses_it(server: Server, case: Case) -> None:
    assert statuses(answer(server, case.sent)) == "400"


@pytest.mark.row("7")
@pytest.mark.chaos
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_the_answer_of_the_table(patient: Server, case: Case) -> None:
    expected, _, state = (case.ours or case.uvicorn).rpartition(" ")
    assert statuses(answer(patient, case.sent, stays_open=state == "open", ends=case.ends)) == expected


@pytest.mark.chaos
def test_after_all_that_it_serves_as_before_and_has_printed_no_traceback(patient: Server) -> None:
    assert all(b"Hello" in patient.get("/a") for _ in range(20))
    assert "Traceback" not in patient.output


@pytest.mark.parametrize("http", HTTPS)
@pytest.mark.parametrize("length", [0, 1])
def test_the_limit_is_exact(site: Site, http: str, length: int) -> None:
    request = get(b"/a", b"X-Big: ")
    request = request.replace(b"X-Big: ", b"X-Big: " + b"a" * (4096 - len(request) + length))
    with site.serve("--http", http, "--max-header-bytes", "4096") as server:
        received = answer(server, request, stays_open=length <= 0)
        assert statuses(received) == ("431" if length > 0 else "200")


@pytest.mark.row("7")
@pytest.mark.chaos
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_good_post_of_200_kb_is_answered_however_much_the_loop_hands_over(site: Site, loop: str) -> None:
    body = b"~" * 200_000
    with site.serve("--loop", loop) as server:
        received = answer(server, post(body, b"Content-Length: 200000"), stays_open=True)
        assert received.startswith(b"HTTP/1.1 200")
        assert received.count(b"~") == len(body)


ENDLESS = {
    "header": (UNFINISHED, b"u" * 65536, b"431"),
    "many headers": (UNFINISHED, b"\r\nX-7: " + b"h" * 1000, b"431"),
    "url": (b"GET /", b"u" * 65536, b"414"),
    "chunk extension": (post(b"3;", b"Transfer-Encoding: chunked"), b"e" * 65536, b"431"),
    "trailers": (post(b"0\r\n", b"Transfer-Encoding: chunked"), b"X-7: " + b"h" * 1000 + b"\r\n", b"431"),
}


@pytest.mark.row("7")
@pytest.mark.chaos
@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_cut_and_takes_no_memory(server: Server, what: str) -> None:
    start, more, status = ENDLESS[what]
    assert b"Hello" in server.get("/a")
    before = peak_memory_kb(server)
    sent, most = 0, 64 * 1024 * 1024
    with server.connect() as sock:
        sock.sendall(start)
        try:
            while sent < most:
                sock.sendall(more)
                sent += len(more)
        except OSError:
            pass
    assert sent < most
    assert peak_memory_kb(server) - before < 16 * 1024
    received = answer(server, start + more * (200_000 // len(more)))
    assert received.split(b" ")[1] == status
    assert b"Hello" in server.get("/a")


def peak_memory_kb(server: Server) -> int:
    """Of the process that has the most; of those below the supervisor, if there is one."""
    pid = server.process.pid
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    statuses = [Path(f"/proc/{each}/status").read_text() for each in below or [pid]]
    return max(int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) for status in statuses)


# ------------------------------------------------------------------ how long it takes


@pytest.mark.row("7s")
@pytest.mark.chaos
def test_slow_clients_are_sent_away_and_starve_nobody(server: Server) -> None:
    """Ninety slow header sections, twenty silent connections, thirty slow bodies, a byte each now and then."""
    slow = [UNFINISHED] * 90 + [b""] * 20 + [post(b"", b"Content-Length: 100000")] * 30
    selector = selectors.DefaultSelector()
    received: dict[socket.socket, bytes] = {}
    expected: dict[socket.socket, bytes] = {}
    began: dict[socket.socket, float] = {}
    lives: list[float] = []
    for start in slow:
        sock = server.connect()
        began[sock] = time.monotonic()
        sock.sendall(start)
        received[sock], expected[sock] = b"", (b"408" if start else b"")
        selector.register(sock, selectors.EVENT_READ)
    waits = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while selector.get_map() and time.monotonic() < deadline:
        asked = time.monotonic()
        assert b"Hello" in server.get("/a")
        waits.append(time.monotonic() - asked)
        for key, _ in selector.select(0.1):
            sock = key.fileobj
            try:
                chunk = sock.recv(4096)
            except ConnectionError:
                chunk = b""
            received[sock] += chunk
            if not chunk:
                selector.unregister(sock)
                lives.append(time.monotonic() - began[sock])
        for key in list(selector.get_map().values()):
            if expected[key.fileobj] and not received[key.fileobj]:
                _send(key.fileobj, b"a")
    left = len(selector.get_map())
    selector.close()
    for sock in received:
        sock.close()
    assert left == 0
    assert len(waits) > 5
    assert max(waits) < 3
    assert min(lives) > 2.9, "before its time"
    assert max(lives) < 20
    assert all(expected[sock] in text[:20] for sock, text in received.items())
    assert not any(text and not expected[sock] for sock, text in received.items())


def test_a_connection_that_never_sent_a_byte_is_closed_in_silence(quick: Server) -> None:
    with quick.connect() as sock:
        assert until_closed(sock) == b""


def test_a_kept_alive_connection_is_closed_when_no_request_comes(quick: Server) -> None:
    with quick.connect() as sock:
        sock.sendall(get(b"/a"))
        received = until_closed(sock)
    assert statuses(received) == "200"


def test_a_kept_alive_connection_in_use_stays_open(quick: Server) -> None:
    """Six requests in more than four seconds: longer than the limit for silence."""
    with quick.connect() as sock:
        for _ in range(6):
            sock.sendall(get(b"/a"))
            read_until(sock, b"Hello")
            time.sleep(0.7)


def test_a_body_that_comes_slowly_but_steadily_is_taken(quick: Server) -> None:
    with quick.connect() as sock:
        sock.sendall(post(b"", b"Content-Length: 40000"))
        for _ in range(5):
            sock.sendall(b"x" * 8000)
            time.sleep(0.8)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_waits_for_100_continue_or_for_a_slow_view_is_not_slow(quick: Server) -> None:
    body = b"x" * 100_000
    request = post(b"", b"Content-Length: 100000", b"Expect: 100-continue").replace(b"/echo", b"/late")
    with quick.connect() as sock:
        sock.sendall(request)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_cut_one_that_reads_slowly_is_not(quick: Server) -> None:
    with quick.connect() as deaf, quick.connect() as slow:
        for sock in (deaf, slow):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.sendall(get(b"/pour"))
        deadline = time.monotonic() + DEADLINE_SECONDS
        while f"127.0.0.1:{deaf.getsockname()[1]} - cut: The client took too long to read" not in quick.output:
            assert time.monotonic() < deadline
            assert slow.recv(20_000)
            time.sleep(0.02)
        for _ in range(50):
            assert slow.recv(20_000)
        assert b"\r\n0\r\n" not in until_closed(deaf)[-10:]


def test_a_blocked_event_loop_is_not_held_against_the_clients(site: Site) -> None:
    """The rest of the headers comes while the loop is blocked for longer than a client may take."""
    with (
        site.serve("--header-timeout-seconds", "3", "--keep-alive-seconds", "3") as server,
        server.connect() as sock,
        server.connect() as silent,
        server.connect() as blocking,
    ):
        sock.sendall(UNFINISHED)
        assert b"Hello" in server.get("/a")
        blocking.sendall(get(b"/block"))
        server.wait_for("blocking")
        sock.sendall(b"b\r\n\r\n")
        silent.sendall(get(b"/a"))
        read_until(blocking, b"unblocked")
        read_until(sock, b"Hello")
        read_until(silent, b"Hello")


def test_an_answer_before_the_end_of_the_body_does_not_keep_the_connection_for_ever(quick: Server) -> None:
    request = post(b"x", b"Content-Length: 100000").replace(b"/echo", b"/early")
    with quick.connect() as sock:
        sock.sendall(request)
        assert duration(lambda: until_closed(sock)) < DEADLINE_SECONDS


def test_requests_sent_at_once_are_all_answered_in_order_before_the_error(server: Server) -> None:
    requests = b"".join(post(b"%d" % number, b"Content-Length: 1") for number in range(5))
    received = answer(server, requests + b"GARBAGE\r\n\r\n")
    assert statuses(received) == "200+200+200+200+200+400"
    assert re.findall(rb"\r\n\r\n1\r\n(\d)", received) == [b"0", b"1", b"2", b"3", b"4"]
