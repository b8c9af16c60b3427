"""
What a site answers with one MIDDLEWARE after another, and what is found in it: a program, for projects/harbour.

It prints {case: {handler: {"built": bool, "statuses": {path: status}, "bodies": {path: text}, "findings": [...],
"plain": [number], "taken_over": bool, "hops": {...}}}}.
"""

import asyncio
import contextvars
import dataclasses
import json
import logging
import os
import sys
import warnings
from typing import Any

PATHS = ("/ships/", "/tides/", "/positions/", "/who/")


def main() -> None:
    sys.path.insert(0, os.getcwd())
    import django

    django.setup()
    from django.test import override_settings
    from harbour.cases import CASES  # type: ignore[import-not-found]

    warnings.simplefilter("ignore")  # coroutines that nobody awaits are what this is about
    logging.disable()
    outcomes: dict[str, dict[str, Any]] = {}
    for name, (middleware, _, _) in CASES.items():
        for handler in ("django", "pooled"):
            with override_settings(MIDDLEWARE=middleware):
                outcomes.setdefault(name, {})[handler] = asyncio.run(prove(handler))
    print(json.dumps(outcomes))


async def prove(kind: str) -> dict[str, Any]:
    from django_asgi_deploy import conf
    from django_asgi_deploy.asgi import assemble
    from django_asgi_deploy.checks import costs, inspected, middleware_code, modes, run
    from django_asgi_deploy.checks.predicted import predict

    settings = dataclasses.replace(conf.load(), handler=kind)
    try:
        app = assemble(settings)
    except TypeError:
        app = None
    subject = inspected.Inspected(settings, application=app, ours=app)
    found = run.run(subject, (modes.check, costs.check, middleware_code.check)).shown
    outcome: dict[str, Any] = {
        "built": app is not None,
        "findings": [[each.number, each.level, each.place and [each.place.file, each.place.line]] for each in found],
        "plain": [each.number for each in run.run(subject, (modes.check_plainly,)).shown],
        "taken_over": subject.replay.handler is None and subject.replay.error is None,
        "statuses": {},
        "bodies": {},
    }
    if app is None:
        return outcome
    outcome["predicted"] = {
        path: getattr(predict(subject.replay.used, is_async), kind)
        for path, is_async in (("/ships/", False), ("/tides/", True))
    }
    outcome["measured"] = {}
    for path in PATHS:
        status, body, hops = await ask(app, path)
        outcome["statuses"][path] = status
        outcome["bodies"][path] = body
        outcome["measured"][path] = hops
    if hasattr(app.handler, "aclose"):
        await app.handler.aclose()
    return outcome


async def ask(app: Any, path: str) -> tuple[int, str, int]:
    """The status, as a server would send it (0: the answer broke off), the body, and how many hops it took."""
    from django_asgi_deploy.checks.hops import counting, noted

    sent: list[dict[str, Any]] = []
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b""})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 12345),
        "server": ("testserver", 80),
    }
    context = contextvars.Context()
    hops: list[Any] = []
    context.run(noted.set, hops)
    loop = asyncio.get_running_loop()
    with counting(loop):
        task = loop.create_task(app(scope, inbox.get, send), context=context)
        try:
            await asyncio.wait_for(task, 20)
            failed = False
        except Exception:
            failed = True
    if not sent:
        return 500, "", len(hops)
    body = b"".join(message.get("body", b"") for message in sent).decode()
    return 0 if failed else sent[0]["status"], body, sum(hop.to == "thread" for hop in hops)


if __name__ == "__main__":
    main()
