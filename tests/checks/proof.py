"""
What a project's routes answer: a program, run in the project's folder, that prints JSON.

``python -m tests.checks.proof django|pooled [PATH ...]`` asks every route without arguments, or these paths, anonymous
and logged in, with four methods: {"/path/": {"anonymous GET": [status, "the exception's name"]}}. Status 0: no answer.
"""

import asyncio
import contextvars
import json
import logging
import os
import sys
import tempfile
import warnings

METHODS = ("GET", "POST", "DELETE", "OPTIONS")


def main(kind: str, *wanted: str) -> None:
    sys.path.insert(0, os.getcwd())
    import django
    from django.conf import settings

    with tempfile.TemporaryDirectory() as folder:
        settings.DATABASES["default"]["NAME"] = os.path.join(folder, "db.sqlite3")
        django.setup()
        from django.core.management import call_command

        warnings.simplefilter("ignore")  # coroutines that nobody awaits are what this is about
        logging.disable()
        call_command("migrate", run_syncdb=True, verbosity=0)
        call_command("createcachetable", verbosity=0)
        outcomes = asyncio.run(drive(kind, {"anonymous": "", "member": logged_in()}, wanted))
    print(json.dumps(outcomes))


def logged_in() -> str:
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

    user = get_user_model().objects.create_user("ada", password="secret", is_staff=True)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


async def drive(kind: str, cookies: dict[str, str], wanted: tuple[str, ...]) -> dict[str, dict[str, list[object]]]:
    from django.core.handlers.asgi import ASGIHandler as DjangosHandler
    from django.core.signals import got_request_exception
    from django.urls import get_resolver

    from django_asgi_deploy.handlers.asgi import ASGIHandler

    handler = DjangosHandler() if kind == "django" else ASGIHandler(threads=2)
    raised: list[str] = []

    def note(**kwargs: object) -> None:
        raised.append(type(sys.exc_info()[1]).__name__)

    got_request_exception.connect(note)
    outcomes: dict[str, dict[str, list[object]]] = {}
    for path in wanted or paths(get_resolver().url_patterns, "/"):
        for who, cookie in cookies.items():
            for method in METHODS:
                raised.clear()
                # Each in a context of its own, as a server gives it.
                task = asyncio.get_running_loop().create_task(
                    ask(handler, path, method, cookie), context=contextvars.copy_context()
                )
                try:
                    status = await asyncio.wait_for(task, 20)
                except Exception as error:
                    status = 0
                    raised.append(type(error).__name__)
                outcomes.setdefault(path, {})[f"{who} {method}"] = [status, raised[0] if raised else ""]
    if isinstance(handler, ASGIHandler):
        await handler.aclose()
    return outcomes


def paths(patterns: list, prefix: str):  # type: ignore[type-arg, no-untyped-def]
    for pattern in patterns:
        path = prefix + str(pattern.pattern).strip("^$")
        if hasattr(pattern, "url_patterns"):
            yield from paths(pattern.url_patterns, path)
        elif "<" not in path:
            yield path


async def ask(handler: object, path: str, method: str, cookie: str) -> int:
    statuses: list[int] = []
    inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b""})

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])  # type: ignore[arg-type]

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"name=ada",
        "headers": [(b"host", b"testserver"), *([(b"cookie", cookie.encode())] if cookie else [])],
        "client": ("127.0.0.1", 12345),
        "server": ("testserver", 80),
    }
    await handler(scope, inbox.get, send)  # type: ignore[operator]
    return statuses[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
