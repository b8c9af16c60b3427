"""New code that is broken: whichever part it is, the version that serves goes on, and the log says what is wrong."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.load import Load
from tests.chaos.service import Running, Service, limit_next_starts, until

pytestmark = pytest.mark.chaos

LONG = bool(os.environ.get("CHAOS_LONG"))
LIFESPAN = """
    import asyncio, pathlib
    from django_asgi_deploy.asgi import get_asgi_application
    from mysite.startup import NUMBER as STARTUP, start
    NUMBER = 1
    django = get_asgi_application("mysite.settings")
    async def application(scope, receive, send):
        if scope["type"] == "lifespan" and (why := await start()):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": why})
            return
        await django(scope, receive, send)
"""
HANGS = {
    "import": "import time\ntime.sleep(60)\n",
    "lifespan": """
        import time
        async def application(scope, receive, send):
            time.sleep(60)
    """,
}
VERSIONS = """
    import dependency, mysite.models, mysite.asgi, mysite.startup, mysite.warm
    from django.conf import settings
    NUMBER = 1
    async def versions(request):
        modules = [dependency, mysite.models, mysite.asgi, mysite.startup, mysite.warm]
        return answer(" ".join(str(each.NUMBER) for each in [*modules, settings]) + f" {NUMBER}")
    urlpatterns.append(path("versions", versions))
"""


@dataclass
class Part:
    """A module of the project, what breaks it, and what the log must say then."""

    module: str
    broken: str
    reason: str


def raising(module: str) -> Part:
    name = module.rpartition("/")[2]
    return Part(module, f"import missing_in_{name}\n", f"No module named 'missing_in_{name}'")


# In the order of the numbers that the view answers with.
PARTS = [
    raising("installed/dependency"),
    raising("mysite/models"),
    raising("mysite/asgi"),
    Part("mysite/startup", "NUMBER = 0\nasync def start(): return 'no queue'\n", "no queue"),
    Part("mysite/warm", "NUMBER = 0\ndef check(): 1 / 0\n", "WARMUP: mysite.warm.check failed:"),
    raising("mysite/settings"),
    raising("mysite/urls"),
]


@pytest.fixture
def layered(service: Service) -> Service:
    """With something in each module that may break."""
    service.write("installed/dependency", "NUMBER = 1\n")
    service.write("mysite/models", "NUMBER = 1\n")
    service.write("mysite/startup", "NUMBER = 1\nasync def start(): pass\n")
    service.write("mysite/warm", "NUMBER = 1\ndef check(): pass\n")
    service.append("mysite/settings", "NUMBER = 1\n")
    service.append("mysite/urls", VERSIONS)
    service.write("mysite/asgi", LIFESPAN)
    return service


def installed(service: Service) -> str:
    """PYTHONPATH with a folder beside the project, as site-packages is."""
    return os.pathsep.join([str(service.folder / "installed"), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.row("5b")
def test_each_part_of_the_code_is_new_after_a_reload_and_a_broken_one_never_replaces_a_good_one(
    layered: Service,
) -> None:
    numbers = [1] * len(PARTS)
    with (
        layered.running("--warmup", "mysite.warm.check", PYTHONPATH=installed(layered)) as running,
        Load(running.server.port, each=1) as load,
    ):
        running.wait_until_ready()
        for index, part in enumerate(PARTS):
            good = (layered.folder / f"{part.module}.py").read_text()
            serving = list(running.started)
            layered.write(part.module, part.broken)
            said = what_a_failed_reload_says(running)
            assert part.reason in said
            assert Path(part.module).name in said
            assert running.started == serving, running.server.output
            numbers[index] = index + 2
            layered.write(part.module, good.replace("NUMBER = 1\n", f"NUMBER = {index + 2}\n"))
            running.signal(signal.SIGHUP)
            running.wait_for_workers(len(serving) + 2)
            answer = " ".join(map(str, numbers)).encode()
            until(lambda answer=answer: running.server.get("/versions").endswith(answer), lambda: running.server.output)
        load.wait_for_more(10)
        load.stop()
        assert load.lost == [], load.summary()
        assert running.stop() == 0


def what_a_failed_reload_says(running: Running) -> str:
    first, times = len(running.server.lines), running.server.output.count("goes on serving")
    running.signal(signal.SIGHUP)
    until(lambda: running.server.output.count("goes on serving") > times, lambda: running.server.output)
    return "\n".join(running.server.lines[first:])


@pytest.mark.row("5b")
@pytest.mark.parametrize("where", ["lifespan", *(["import"] if LONG else [])])
def test_a_version_that_hangs_at_its_start_is_given_up_shows_where_and_the_old_one_goes_on(
    service: Service, where: str
) -> None:
    with service.running() as running, Load(running.server.port, each=1) as load:
        workers = limit_next_starts(service, running, 4)
        service.write("mysite/asgi", HANGS[where])
        said = what_a_failed_reload_says(running)
        if where == "lifespan" and "Version 3 is loaded" in said:  # a busy machine may take longer than that for it
            assert "didn't serve within 4 s (BOOT_TIMEOUT_SECONDS)" in said
            assert "Version 3 can't serve; version 2 goes on serving" in said
            assert re.search(r'mysite/asgi.py", line \d+ in ', said)
        else:
            assert "Version 3 isn't loaded after 4 s (BOOT_TIMEOUT_SECONDS); version 2 goes on serving" in said
        assert running.started[2:] == workers
        load.wait_for_more(10)
        load.stop()
        assert load.lost == [], load.summary()
        assert running.stop() == 0
