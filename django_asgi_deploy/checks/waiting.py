"""A view that waits until its client leaves, behind the project's own middleware."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import get_resolver, path

URLCONF = "django_asgi_deploy_checks_waiting_urls"


class Waiting:
    """What became of the one request to ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.leave = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None  # the one that is to be told
        self.was_entered = False
        self.was_cancelled = False

    async def view(self, request: Any) -> HttpResponse:
        assert self.loop is not None
        self.was_entered = True
        self.loop.call_soon_threadsafe(self.leave.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        raise AssertionError("nobody sets this event")

    @contextmanager
    def installed(self, path_info: str) -> Iterator[None]:
        """Meanwhile, the project's URLconf has this view in front."""
        own = get_resolver()
        module = ModuleType(URLCONF)
        vars(module).update({name: value for name, value in vars(own.urlconf_module).items() if "handler" in name})
        vars(module)["urlpatterns"] = [path(path_info.lstrip("/"), self._open_view()), *own.url_patterns]
        before, sys.modules[URLCONF] = settings.ROOT_URLCONF, module
        settings.ROOT_URLCONF = URLCONF
        try:
            yield
        finally:
            settings.ROOT_URLCONF = before
            del sys.modules[URLCONF]

    def _open_view(self) -> Any:
        """The view as a function that middleware lets pass, as far as a view can say so."""

        async def waits_for_its_client(request: Any) -> HttpResponse:
            return await self.view(request)

        view: Any = waits_for_its_client
        view.csrf_exempt = True
        view.login_required = False
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view
