"""Django's test clients, made to travel: a request becomes an ASGI scope and messages, its answer is read off the wire.

``Client`` and ``AsyncClient`` call ``django.test.client.ClientHandler`` and ``AsyncClientHandler``, which run a chain
of their own. The two handlers here take their places. The application gets a scope and a body as from a server; the
response that the test sees is built from ``http.response.start`` and ``http.response.body`` alone. Only the request
object is handed over behind the wire, because tests look at ``response.wsgi_request``.
"""

import asyncio
from http import HTTPStatus
from http.cookies import SimpleCookie

from asgiref.sync import async_to_sync
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import HttpResponse, HttpResponseRedirect
from django.test import client
from django.utils.encoding import repercent_broken_unicode

CHUNK_BYTES = 2**16
EXTENSION = "django_asgi_deploy.tests"


class Calls:
    """How many requests went through the handler under test, by the way they came."""

    client = 0
    async_client = 0


class WireResponse(HttpResponse):
    """What a client knows of a response: status, headers, cookies, bytes."""

    def __init__(self, start, body, request):
        headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in start["headers"]]
        reason = HTTPStatus(start["status"]).phrase if start["status"] in list(HTTPStatus) else None
        super().__init__(body, status=start["status"], reason=reason)
        del self.headers["Content-Type"]
        self.cookies = SimpleCookie()
        for name, value in headers:
            if name.lower() == "set-cookie":
                self._load_cookie(value)
            else:
                self.headers[name] = value
        self.wsgi_request = self.asgi_request = request

    def _load_cookie(self, value):
        self.cookies.load(value)
        for morsel in SimpleCookie(value).values():
            if morsel["max-age"]:
                self.cookies[morsel.key]["max-age"] = int(morsel["max-age"])

    url = HttpResponseRedirect.url

    # A response of one piece may be read as a stream: the bytes are the same.
    @property
    def streaming_content(self):
        return [self.content]

    @streaming_content.setter
    def streaming_content(self, value):
        self.content = b"".join(value)

    async def __aiter__(self):
        yield self.content

    def getvalue(self):
        return self.content


def observed(handler_class):
    """A child of the handler whose requests the client knows, free of CSRF checks where the client asks for it."""

    class Request(handler_class.request_class):
        def __init__(self, scope, body_file):
            super().__init__(scope, body_file)
            extension = scope.get("extensions", {}).get(EXTENSION)
            if extension is not None:
                self._dont_enforce_csrf_checks = not extension["enforce_csrf_checks"]
                extension["request"] = self

    return type(handler_class.__name__, (handler_class,), {"request_class": Request})


def scope_from_environ(environ):
    """What a server would put into the scope where a WSGI server would have made this environ."""
    path = repercent_broken_unicode(environ["PATH_INFO"].encode("latin1")).decode()
    path = "/" + path.replace("/", "", 1)  # as WSGIRequest does it: a request line has a leading slash
    root_path = environ.get("SCRIPT_NAME", "").encode("latin1").decode()
    headers = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            headers.append((key[5:], value))
        elif key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value not in {"", None}:
            headers.append((key, value))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": root_path + path,
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "query_string": environ.get("QUERY_STRING", "").encode("latin1"),
        "headers": [
            (key.lower().replace("_", "-").encode("latin1"), str(value).encode("latin1", "replace"))
            for key, value in headers
        ],
        "client": (environ["REMOTE_ADDR"], 0),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


def messages_from_body(body):
    pieces = [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)] or [b""]
    for number, piece in enumerate(pieces, 1):
        yield {"type": "http.request", "body": piece, "more_body": number < len(pieces)}


class TravellingHandler:
    """What the two client handlers share: one application, made at the first request as Django's own do."""

    def __init__(self, enforce_csrf_checks=True, *args, **kwargs):
        self.enforce_csrf_checks = enforce_csrf_checks
        self.application = None

    async def travel(self, scope, body):
        """Send one request through the application and build the response from the messages that come back."""
        if self.application is None:
            self.application = observed(asgi.ASGIHandler)()
        extension = {"enforce_csrf_checks": self.enforce_csrf_checks, "request": None}
        scope = {**scope, "extensions": {EXTENSION: extension}}
        sent = []
        body_messages = messages_from_body(body)
        never = asyncio.get_running_loop().create_future()

        async def receive():
            for message in body_messages:
                return message
            return await never

        async def send(message):
            sent.append(message)

        request_started.disconnect(close_old_connections)
        request_finished.disconnect(close_old_connections)
        try:
            await self.application(scope, receive, send)
        finally:
            never.cancel()
            request_started.connect(close_old_connections)
            request_finished.connect(close_old_connections)
        start, *bodies = sent
        assert start["type"] == "http.response.start", start
        assert {message["type"] for message in bodies} == {"http.response.body"}, bodies
        assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False], bodies
        response = WireResponse(start, b"".join(message.get("body", b"") for message in bodies), extension["request"])
        if extension["request"] is not None:
            client.conditional_content_removal(extension["request"], response)
        return response


class ClientHandler(TravellingHandler):
    def __call__(self, environ):
        Calls.client += 1
        body = environ["wsgi.input"]
        scope = scope_from_environ(environ)
        response = async_to_sync(self.travel)(scope, body.read(len(body)))
        if response.wsgi_request is not None:
            response.wsgi_request.environ = environ
        return response


class AsyncClientHandler(TravellingHandler):
    async def __call__(self, scope):
        Calls.async_client += 1
        body = scope.pop("_body_file", None) or client.FakePayload(b"")
        query = scope.get("query_string", b"")
        scope = {**scope, "query_string": query if isinstance(query, bytes) else query.encode()}
        return await self.travel(scope, body.read(len(body)))


def install():
    client.ClientHandler = ClientHandler
    client.AsyncClientHandler = AsyncClientHandler
