"""ASGI middleware around an application."""

from collections.abc import Callable, Iterable
from typing import Any

from django_asgi_deploy.types import ASGIApp


class Middleware:
    """A middleware with its options, to be put around an application: ``cls(app, **options)``."""

    def __init__(self, cls: Callable[..., ASGIApp], /, **options: Any) -> None:
        self.cls = cls
        self.options = options

    def __call__(self, app: ASGIApp) -> ASGIApp:
        return self.cls(app, **self.options)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Middleware({getattr(self.cls, '__name__', self.cls)}{options})"


def wrap(app: ASGIApp, middleware: Iterable[Middleware]) -> ASGIApp:
    """``app`` inside all of ``middleware``, the first being the outermost."""
    for each in reversed([*middleware]):
        app = each(app)
    return app
