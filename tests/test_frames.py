"""With the defaults nothing of ours stands between the server and a view but the handler."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import path
from pytest_django import Settings

import django_asgi_deploy
from django_asgi_deploy.asgi import get_asgi_application
from tests.layers.asgi import exchange, http

PACKAGE = Path(django_asgi_deploy.__file__).parent
seen: dict[str, list[str]] = {}


def ours(frames: Iterator[Any]) -> list[str]:
    """Those of our own package, as ``module:function``."""
    found = []
    for frame in frames:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
            found.append(f"{module}:{frame.f_code.co_qualname}")
    return found


def awaiting() -> Iterator[Any]:
    """What waits for the thread that a view is in, from the beginning of the task inwards."""
    # When the loop comes to this, the task has come to where it waits.
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), task.get_loop()).result()
    coroutine = task.get_coro()
    while frame := getattr(coroutine, "cr_frame", None):
        yield frame
        coroutine = coroutine.cr_await


def calling() -> Iterator[Any]:
    """What has called the view, from the inside outwards."""
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def hello(request: Any) -> HttpResponse:
    seen["frames"] = [*ours(awaiting()), *ours(calling())]
    return HttpResponse("Hello")


async def ahello(request: Any) -> HttpResponse:
    seen["frames"] = ours(calling())
    return HttpResponse("Hello")


urlpatterns = [path("sync", hello), path("async", ahello)]
task: Any = None


@pytest.mark.parametrize("target", ["/sync", "/async"])
@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, set()),
        ({"LIVE_PATH": "/livez"}, {"layers.health:Health.__call__"}),  # so that the test can fail
    ],
)
def test_no_layer_has_a_frame_unless_its_setting_asks_for_it(
    settings: Settings, target: str, options: dict[str, Any], layers: set[str]
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.ASGI_DEPLOY = options
    app = get_asgi_application()

    async def main() -> None:
        global task
        task = asyncio.ensure_future(exchange(app, http(target)))
        start, _ = await task
        assert start["status"] == 200

    asyncio.run(main())
    of_the_handler = {frame for frame in seen["frames"] if frame.startswith("handlers.")}
    assert len(of_the_handler) > 2
    assert set(seen["frames"]) - of_the_handler == {
        "asgi:Application.__call__",
        *layers,
    }  # the first is the application
