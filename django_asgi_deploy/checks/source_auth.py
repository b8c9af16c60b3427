"""``request.user``, ``request.session`` and logging in, in asynchronous code."""

from django.conf import settings

from django_asgi_deploy.checks import backends
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.events import Call, SessionTouched, UserTouched
from django_asgi_deploy.checks.resolve import Names
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Known

LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"


def user(event: UserTouched, scope: Scope) -> Problem:
    then = (
        "request.user fetches the user at this moment: SynchronousOnlyOperation, everybody who is logged in gets a 500 "
        "(who isn't doesn't notice)"
    )
    level: Level = "error"
    if LOGIN_REQUIRED in settings.MIDDLEWARE:
        then = (
            "it works only because LoginRequiredMiddleware fetched the user before; where a view is exempt from it, "
            "everybody who is logged in gets a 500"
        )
        level = "warning"
    hint = "Type user = await request.auser(), and use user from then on; request.user itself stays as it is."
    return scope.problem(event.node, 404, text_of(event.node), then, hint, level)


def session(event: SessionTouched, scope: Scope) -> Problem:
    engine = backends.session_engine().rpartition(".")[2]
    twin = {"[]": "aget(name), or aset(name, value)"}.get(event.name, f"a{event.name}(...)")
    hint = f"Type await request.session.{twin}."
    then = (
        "the session is read from the database at this moment: SynchronousOnlyOperation, every client with a session "
        "gets a 500"
    )
    level: Level = "error"
    if engine == "signed_cookies":
        then, level = "sessions in cookies need no I/O; with any other engine this would fail or wait", "info"
    elif engine in ("cache", "file"):
        then = f"the session is read ({engine}) on the event loop, and nobody else is served meanwhile"
        level = "warning"
    return scope.problem(event.node, 404, text_of(event.node), then, hint, level)


_TWINS = ("authenticate", "login", "logout", "get_user", "update_session_auth_hash")
_names = Names(f"django.contrib.auth.{name}" for name in _TWINS)


def sync_auth(event: Call, scope: Scope) -> Problem | None:
    name = _names.name_of(event.callee.object) if isinstance(event.callee, Known) else None
    if name is None:
        return None
    scope.outcome.queries.append(text_of(event.node))
    then = "it queries the database: SynchronousOnlyOperation, the client gets a 500"
    return scope.problem(
        event.node, 415, text_of(event.node), then, f"Type await a{name.rpartition('.')[2]}(...).", "error"
    )


RULES = {UserTouched: [user], SessionTouched: [session], Call: [sync_auth]}
