"""What we put in the place of uvicorn's own methods, and the test that drives each, on the lowest uvicorn as well.

An override can't stand in one file with the private names: each belongs to what it is for. So none may be without a
test here, and these tests are part of ``tox -e lowest``.
"""

import configparser
import inspect
import re
from pathlib import Path
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from django_asgi_deploy.server.config import Config
from django_asgi_deploy.server.protocol import HttpTools
from django_asgi_deploy.server.protocol_h11 import H11, _Strict
from django_asgi_deploy.server.worker import Worker
from django_asgi_deploy.server.writes import batch_writes

ROOT = Path(__file__).parents[2]
LIMITS, WRITES, SERVED = "tests/server/test_limits.py", "tests/server/test_writes.py", "tests/test_served.py"

DRIVEN_BY = {
    (HttpTools, "data_received"): f"{LIMITS}::test_the_limit_is_exact",
    (HttpTools, "on_body"): f"{LIMITS}::test_a_body_that_comes_slowly_but_steadily_is_taken",
    (HttpTools, "on_response_complete"): f"{WRITES}::test_pipelined_requests_are_answered_in_order",
    (HttpTools, "send_400_response"): f"{LIMITS}::test_bad_input_gets_the_answer_of_the_table",
    (H11, "__init__"): f"{LIMITS}::test_a_request_that_gives_its_length_in_two_ways_is_refused_whatever_parses_it",
    (H11, "data_received"): f"{LIMITS}::test_the_limit_is_exact",
    (H11, "send_400_response"): f"{LIMITS}::test_what_never_ends_is_cut_and_takes_no_memory",
    (_Strict, "next_event"): (
        f"{LIMITS}::test_a_request_that_gives_its_length_in_two_ways_is_refused_whatever_parses_it"
    ),
    (Worker, "__init__"): f"{SERVED}::test_a_signal_ends_it_with_status_0",
    (Worker, "startup"): f"{SERVED}::test_a_signal_while_the_lifespan_hangs_ends_it_within_a_second",
    (Worker, "capture_signals"): f"{SERVED}::test_a_signal_ends_it_with_status_0",
    (Worker, "handle_exit"): f"{SERVED}::test_a_second_signal_ends_it_at_once",
    (Worker, "on_tick"): f"{SERVED}::test_a_request_that_is_under_way_is_answered_after_the_signal",
    (Worker, "shutdown"): f"{SERVED}::test_an_open_stream_is_cut_at_the_graceful_timeout",
    ("Batching", "connection_made"): f"{WRITES}::test_a_streams_head_doesnt_wait_for_its_first_part",
}
BASES = (uvicorn.Server, uvicorn.Config, HttpToolsProtocol, H11Protocol, h11.Connection)


def batching() -> type:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    config = uvicorn.Config(app, http="httptools", log_config=None)
    config.load()
    batch_writes(config)
    return config.http_protocol_class  # type: ignore[return-value]


def overrides(cls: type) -> set[str]:
    """The names that ``cls`` or a class between it and uvicorn's defines, and uvicorn's too."""
    (base,) = (base for base in BASES if issubclass(cls, base))
    ours = [each for each in cls.__mro__ if each not in base.__mro__]
    names = {name for each in ours for name, value in vars(each).items() if inspect.isroutine(value)}
    return {name for name in names if hasattr(base, name) and getattr(base, name) is not getattr(object, name, None)}


@pytest.mark.parametrize("cls", [HttpTools, H11, _Strict, Worker, Config, "Batching"])
def test_each_override_has_a_test(cls: Any) -> None:
    found = overrides(batching() if cls == "Batching" else cls)
    assert found == {name for owner, name in DRIVEN_BY if owner is cls}


@pytest.mark.parametrize("test", sorted(set(DRIVEN_BY.values())))
def test_it_is_there_and_runs_on_the_lowest_uvicorn(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert file in tox["testenv:lowest"]["commands"].split()
