"""Whether an object is an application that can be served; if not, what it is, and what to write."""

import inspect
from typing import Literal, cast

from asgiref.compatibility import is_double_callable
from django.core.handlers.wsgi import WSGIHandler

from django_asgi_deploy.exceptions import ApplicationError
from django_asgi_deploy.importer import import_from_string
from django_asgi_deploy.types import ASGIApp

Kind = Literal["asgi", "nothing", "wsgi", "factory", "asgi2"]


def import_application(path: str, origin: str, *, if_wsgi: str) -> ASGIApp:
    """The ASGI application at the import string ``path``, which ``origin`` gave.

    ``if_wsgi`` says what to do with one that is WSGI. Raises ApplicationError, or ProjectError if its module raises.
    """
    app: object = import_from_string(path, origin)
    kind = kind_of(app)
    if kind != "asgi":
        raise ApplicationError(f"{path} ({origin}) {_problem(app, kind, path, if_wsgi)}")
    return cast(ASGIApp, app)


def kind_of(app: object) -> Kind:
    """What an object is; "nothing" can't be called, "asgi2" is a callable in two steps."""
    if not callable(app):
        return "nothing"
    if isinstance(app, WSGIHandler) or _parameters(app)[:2] == ["environ", "start_response"]:
        return "wsgi"
    if not inspect.isclass(app) and not _required_parameters(app):
        return "factory"
    if inspect.isclass(app) or is_double_callable(app):  # type: ignore[no-untyped-call]
        return "asgi2"
    return "asgi"


def _problem(app: object, kind: Kind, path: str, if_wsgi: str) -> str:
    if kind == "nothing":
        return f"is {type(app).__name__} {_shown(app)}, which can't be called: not an application."
    if kind == "wsgi":
        return f"is a WSGI application; over ASGI it would answer 500 to everything. {if_wsgi}"
    if kind == "factory":
        name = path.partition(":")[2] or "application"
        return f"makes an application instead of being one. Call it: application = {name}()"
    what = "a class" if inspect.isclass(app) else "a callable in two steps"
    return (
        f"is {what}, as in ASGI 2, which this server doesn't speak. In that module write: from "
        "asgiref.compatibility import guarantee_single_callable; application = guarantee_single_callable(...)"
    )


def _parameters(app: object) -> list[str]:
    try:
        return list(inspect.signature(app).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ["scope", "receive", "send"]  # C code: believed


def _required_parameters(app: object) -> bool:
    try:
        parameters = inspect.signature(app).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    return any(each.default is each.empty for each in parameters)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
