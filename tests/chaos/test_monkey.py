"""Whatever comes, and in whatever order: no request is lost, and the service settles into what was asked of it.

``CHAOS_SEED=n`` plays another sequence, ``CHAOS_LONG=1`` a longer one of a new seed. A failure says which it was.
"""

import os
import random

import pytest

from tests.chaos.load import Load
from tests.chaos.monkey import WARM, WARMUP, Monkey
from tests.chaos.service import Service

pytestmark = pytest.mark.chaos

LONG = bool(os.environ.get("CHAOS_LONG"))
BURSTS = 25 if LONG else 3


@pytest.mark.parametrize(
    ("workers", "arguments"),
    [
        (2, ()),
        (3, ("--max-requests", "300", "--max-requests-jitter", "200")),
        pytest.param(2, ("--preload", "off"), marks=pytest.mark.skipif(not LONG, reason="CHAOS_LONG=1 has it")),
    ],
    ids=["two", "three, recycled", "two, not forked"],
)
def test_whatever_comes_the_service_settles_into_what_is_wanted_and_loses_nothing(
    service: Service, workers: int, arguments: tuple[str, ...]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or (random.randrange(2**32) if LONG else workers))
    print(f"CHAOS_SEED={seed}")
    service.write("mysite/warm", WARM)
    with (
        service.running(*WARMUP, *arguments, workers=workers) as running,
        Load(running.server.port, each=1) as load,
    ):
        running.wait_until_ready()
        monkey = Monkey(seed, service, running, load, forks="--preload" not in arguments)
        monkey.settle()
        for _ in range(BURSTS):
            monkey.burst()
            monkey.settle()
        monkey.stop()
