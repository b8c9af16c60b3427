"""
Django's share of a synchronous request, in process: ``python -m benchsite.chain SECONDS``.

The synchronous chain with its signals, from a scope to the last byte, in one thread, without server or event loop.
Prints the microseconds of one request, once for each batch: by the clock, and of processor time.
"""

import io
import json
import sys
import time

import django
from django.core import signals
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.urls import set_script_prefix

BATCH = 200
# What wrk sends.
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/sync/",
    "raw_path": b"/sync/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"127.0.0.1:8000")],
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 8000),
}


def answer(handler):
    set_script_prefix("/")
    signals.request_started.send(sender=ASGIHandler, scope=SCOPE)
    request = ASGIRequest(SCOPE, io.BytesIO())
    response = handler.get_response(request)
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    content = response.content
    response.close()
    return response.status_code, headers, content


def microseconds_of_a_batch(handler):
    clock, cpu = time.perf_counter(), time.thread_time()
    for _ in range(BATCH):
        answer(handler)
    return (time.perf_counter() - clock) / BATCH * 1e6, (time.thread_time() - cpu) / BATCH * 1e6


def main(seconds):
    django.setup()
    handler = BaseHandler()
    handler.load_middleware()
    status, _, content = answer(handler)
    if (status, content) != (200, b"Hello"):
        raise SystemExit(f"The chain answered {status} {content!r}, expected 200 b'Hello'.")
    microseconds_of_a_batch(handler)  # warm
    end = time.monotonic() + seconds
    batches = []
    while not batches or time.monotonic() < end:
        batches.append(microseconds_of_a_batch(handler))
    print(json.dumps(dict(zip(["clock", "cpu"], zip(*batches, strict=True), strict=True))))


if __name__ == "__main__":
    main(float(sys.argv[1]))
