"""A client that calls a handler in this process, over the ASGI protocol, and leaves when it is told to."""

import asyncio
from contextlib import contextmanager

from django.test import override_settings

# ruff: noqa: ASYNC110 - what another thread does sets no asyncio.Event
from tests.handlers import configured  # noqa: F401 - settings come before anything of Django's

APPS = [f"django.contrib.{name}" for name in ("contenttypes", "auth", "sessions", "messages")]


class Client:
    """One request. ``leave()`` disconnects; ``messages`` is what came back so far."""

    def __init__(self, handler, path="/", *, method="GET", body=b"", headers=()):
        self.handler = handler
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver"), *headers],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 12345),
        }
        self.messages = []
        self.arrived = asyncio.Condition()
        self.incoming = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})

    async def send(self, message):
        self.messages.append(message)
        async with self.arrived:
            self.arrived.notify_all()

    def leave(self):
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def run(self):
        await self.handler(self.scope, self.incoming.get, self.send)
        return self

    def start(self):
        self.task = asyncio.create_task(self.run())
        return self

    async def has(self, count):
        """Wait for that many messages."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.messages) >= count)
        return self.messages[count - 1]

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def headers(self):
        return {name.lower(): value for name, value in self.messages[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def text(self):
        return self.body.decode()


async def get(handler, path="/", **options):
    return await asyncio.wait_for(Client(handler, path, **options).run(), 30)


@contextmanager
def site(urlpatterns, middleware=(), **settings):
    """A project with these URLs and middleware, as long as the context lasts."""
    urls = type("urls", (), {"urlpatterns": list(urlpatterns)})
    settings.setdefault("INSTALLED_APPS", APPS)
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=list(middleware), **settings):
        yield urls


def run(main, handler=None, timeout=60):
    """Run ``main()`` on a new event loop, and close the handler there."""

    async def wrapped():
        try:
            async with asyncio.timeout(timeout):
                return await main()
        finally:
            if handler is not None:
                await handler.aclose()

    return asyncio.run(wrapped())


async def idle(handler):
    """Wait until no thread of the handler is busy."""
    while handler.stats().busy:
        await asyncio.sleep(0.001)
