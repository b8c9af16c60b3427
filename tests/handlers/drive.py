"""Drive a handler over the ASGI protocol, in this process, and compare what two of them did with the same case."""

import asyncio
import contextvars
import difflib
import logging
import re
import warnings
from dataclasses import dataclass
from unittest import mock

import django
from django.db import connections
from django.test import override_settings

from tests.handlers.stacks import TRAIL, LogHandler, Recorder, Site

CASE_SECONDS = 60  # a case that takes longer hangs


@dataclass
class Run:
    """What one handler did with a case."""

    constructions: list
    requests: list
    strays: list


def run(handler_class, case):
    """Serve the case's requests, one after another, with a new handler of that class."""
    recorder = Recorder()
    site = Site(case, recorder)
    log_handler = LogHandler(recorder)
    logger = logging.getLogger("django")  # django.request and django.security.*
    receivers = list(site.receivers())
    overridden = override_settings(
        ROOT_URLCONF=site.urls.__name__,
        MIDDLEWARE=site.middleware,
        DEBUG=False,
        USE_I18N=True,
        LANGUAGE_CODE="en-us",
        SESSION_ENGINE=site.sessions.__name__,
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    )
    atomic = mock.patch.dict(connections.settings["default"], ATOMIC_REQUESTS=case.atomic_requests)
    try:
        with overridden, atomic, warnings.catch_warnings():
            # Coroutines that a wrong view never awaits, iterators of the other kind: both handlers are told the same.
            warnings.simplefilter("ignore")
            for signal, receiver in receivers:
                signal.connect(receiver, weak=False)
            logger.addHandler(log_handler)
            propagate, logger.propagate = logger.propagate, False
            try:
                handler = handler_class()
                asyncio.run(_serve(handler, case, recorder))
                if hasattr(handler, "close"):
                    handler.close()
            finally:
                logger.propagate = propagate
                logger.removeHandler(log_handler)
                for signal, receiver in receivers:
                    signal.disconnect(receiver)
    finally:
        site.close()
    return Run(recorder.constructions, [served.events for served in recorder.requests], recorder.strays)


async def _serve(handler, case, recorder):
    cookies = {}
    async with asyncio.timeout(CASE_SECONDS):
        if case.at_once:
            await asyncio.gather(*(_serve_one(handler, request, recorder, {}) for request in case.requests))
        else:
            for request in case.requests:
                await _serve_one(handler, request, recorder, cookies)


async def _serve_one(handler, request, recorder, cookies):
    """Send one request as a server would, and write down every message and how the call ended."""
    served = recorder.begin()
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST" if request.body else "GET",
        "scheme": "http",
        "path": f"/prefix/v{request.target}/7/",
        "raw_path": f"/prefix/v{request.target}/7/".encode(),
        "root_path": "/prefix",
        "query_string": b"q=1",
        "headers": [
            (b"host", b"testserver"),
            (b"content-length", str(sum(map(len, request.body))).encode()),
            *([(b"cookie", cookie.encode())] if cookie else []),
        ],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 80),
    }
    pieces = request.body or (b"",)
    messages = [
        {"type": "http.request", "body": piece, "more_body": request.leaves or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    if request.leaves:
        messages.append({"type": "http.disconnect"})
    stays = asyncio.get_running_loop().create_future()

    async def receive():
        return messages.pop(0) if messages else await stays

    async def send(message):
        for name, value in message.get("headers", ()):
            if name == b"Set-Cookie":
                cookies.update([value.decode().partition(";")[0].split("=", 1)])
        recorder.event("send", "async", detail=freeze(message), leaves_trail=False)

    context = contextvars.copy_context()
    context.run(TRAIL.set, (served.request_id,))

    async def call():
        served.task = asyncio.current_task()
        await handler(scope, receive, send)

    task = asyncio.get_running_loop().create_task(call(), context=context)
    try:
        await task
    except Exception as exc:
        outcome = repr(exc)
    else:
        outcome = "returned"
    finally:
        stays.cancel()
    served.task = asyncio.current_task()
    context.run(recorder.event, "end", "async", detail=outcome)


# Keys, tokens, dates, and the time and signature behind the text of a message.
RANDOM = re.compile(rb"((?:sessionid|csrftoken)=)[^;]+|(expires=)[^;]+|(messages=[^;:]*):[^;]+")


def freeze(message):
    """The message as a value, without what is random in it."""
    frozen = dict(message)
    if "headers" in frozen:
        frozen["headers"] = tuple((name, RANDOM.sub(rb"\1\2\3...", value)) for name, value in frozen["headers"])
    return tuple(sorted(frozen.items()))


# --- Comparison ------------------------------------------------------------------------------------------------------


def differences(case, expected, actual):
    """Say in lines what the second run did otherwise than the first; no line: equal."""
    found = []
    if actual.strays != expected.strays:
        found.append(f"lost their context: {actual.strays}, not {expected.strays}")
    if case.classic:
        if actual.constructions != expected.constructions:
            found.append(f"a classic stack was constructed as {actual.constructions}, not {expected.constructions}")
    elif actual.constructions not in (expected.constructions, expected.constructions * 2):
        found.append(f"constructed {actual.constructions}, not {expected.constructions}, once or twice")
    for number, request in enumerate(case.requests):
        lines = [
            normalised(case, request, requests[number] if number < len(requests) else [])
            for requests in (expected.requests, actual.requests)
        ]
        if lines[0] != lines[1]:
            found.append(f"request {number}: {request}")
            found += difflib.unified_diff(*lines, "expected", "actual", lineterm="", n=100)
    return found


def normalised(case, request, events):
    """The events as lines, without what may differ: the branch of a hybrid middleware where the view may be sync.

    A synchronous stream is sent chunk by chunk by one handler and collected first by the other. So the events of its
    iterator go to the end, after a check that no chunk was sent before it was made, and what the sends between saw of
    them is left out.
    """
    free = case.branch_may_differ(request)
    streamed = [event for event in events if event.nature == "stream"]
    others = [event for event in events if event.nature != "stream"]
    lines = []
    stream_names = {event.name for event in streamed}
    raised = any(event.name.endswith("iterator left") for event in streamed) and "streaming" in str(events[-1].detail)
    for event in others:
        if free and event.name.endswith(".acall"):
            continue
        if streamed and event.name == "send":
            if raised and dict(event.detail)["type"] == "http.response.body":
                continue
            event = event._replace(trail=tuple(name for name in event.trail if name not in stream_names))
        lines.append(line(event, free, case.classic))
    lines = in_order_of_kind(merge_file(lines, streamed))
    if streamed:
        lines += ["-- the iterator", *(line(event, free, case.classic) for event in streamed)]
        lines += made_after_sent(events)
    return lines


# Before 6.1 Django ran the chain in a task of its own, and synchronous receivers in another, so what came after saw
# none of their context variables. Our handler does on every version what Django does from 6.1 on.
OWN_TASK = django.VERSION < (6, 1)


def line(event, free, classic):
    thread, task, branch = event.thread, event.task, event.branch
    if OWN_TASK:
        task = ""
        trail = tuple(name for name in event.trail if not name.startswith("request_started"))
        event = event._replace(trail=trail, ambient=event.ambient[:3])
        after = {"end", "request_finished async", "request_started async"}
        if event.nature == "finish" or event.name in after or event.name.endswith("file closed"):
            event = event._replace(trail=event.trail[:1], ambient=())
    if free and event.nature == "either":
        fits = thread == ("loop" if branch == "async" else "worker")
        thread, task, branch = ("as its branch" if fits else f"{branch} in {thread}"), "", ""
        ambient = event.ambient[:4]
    else:
        ambient = event.ambient
        if free and event.nature == "async":
            task = ""
    if free:
        # The worker's first step may be another one, so which step first found the thread empty may differ.
        ambient = ambient[:4]
    instance = event.instance if classic else ""
    columns = [event.name, event.nature, branch, thread, task, ",".join(event.trail), ambient, event.detail, instance]
    return " | ".join(map(str, columns))


SIGNAL = re.compile(r"(request_started|request_finished|got_request_exception) (\w+)")


def in_order_of_kind(lines):
    """Synchronous and asynchronous receivers of one signal stand side by side; nobody promises which comes first."""
    ordered = list(lines)
    for index in range(1, len(ordered)):
        before, here = (SIGNAL.match(text) for text in ordered[index - 1 : index + 1])
        if before and here and before[1] == here[1] and before[2] > here[2]:
            ordered[index - 1 : index + 1] = ordered[index], ordered[index - 1]
    return ordered


def merge_file(lines, streamed):
    """How a file is cut into messages is nobody's business."""
    if not any(event.name.endswith("file closed") for event in streamed):
        return lines
    return [re.sub(r"\('body', b'y+'\)", "('body', b'y...')", text) for text in lines]


def made_after_sent(events):
    """Name each chunk of a synchronous stream that was sent before its iterator had made it."""
    made = 0
    wrong = []
    for event in events:
        if event.nature == "stream" and ".chunk " in event.name:
            made += 1
        if event.name == "send":
            body = dict(event.detail).get("body", b"")
            if body.startswith(b"chunk ") and int(body[6:]) >= made:
                wrong.append(f"sent before it was made: {body}")
    return wrong
