"""uvicorn's HTTP/1.1 protocols with limits: on the size of header sections, and on how long a client may take.

The limits on time are kept by ``deadlines.Deadlines``, which asks each connection what it waits for.
"""

import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from django_asgi_deploy.server import private
from django_asgi_deploy.server.deadlines import Wait, Waiting, client_of
from django_asgi_deploy.server.refusal import Linger, response

logger = logging.getLogger("django_asgi_deploy.server")

LONGEST_URL = 65535  # bytes; httptools can't take a longer one apart


class Limited:
    """What both protocols share. ``max_header_bytes`` is for the request line and the header section together."""

    max_header_bytes = 65536
    body_bytes = 0  # of all bodies on this connection
    refusal: tuple[int, str] | None = None  # to be sent when the requests before it are answered

    # uvicorn's
    cycle: Any
    transport: Any
    server_state: Any
    client: tuple[str, int] | None

    def is_in_headers(self) -> bool:
        """Whether a header section has begun and isn't complete."""
        raise NotImplementedError

    def waiting(self) -> Waiting | None:
        """What the client is waited for; None while it waits for us."""
        if not private.is_answered(self):
            if private.is_body_missing(self) and private.is_body_waited_for(self):
                return Waiting(Wait.BODY, self.cycle, self.body_bytes)
            return None
        if self.is_in_headers():
            return Waiting(Wait.HEADERS, self.cycle)
        if private.is_body_missing(self):
            return Waiting(Wait.BODY, self.cycle, self.body_bytes)
        return Waiting(Wait.IDLE, self.cycle)

    def time_is_up(self, wait: Wait) -> None:
        is_answered_early = wait is Wait.BODY and private.is_answered(self)
        if wait is Wait.IDLE or is_answered_early:
            self.transport.close()
        else:
            self.refuse_and_say(408, f"The client took too long to {wait.value}.")

    def refuse(self, status: int, text: str) -> None:
        """Answer with an error in the place of the request that is wrong, and close."""
        if private.has_earlier_requests(self) or not (private.is_answered(self) or private.is_body_missing(self)):
            self.refusal = status, text
            if private.is_body_missing(self):
                private.forget_queued_request(self)
            return
        if private.is_answered(self) or private.give_up_request(self):
            self.transport.write(response(status, text, self.server_state.default_headers))
            Linger(self)
        else:
            self.transport.abort()  # in the midst of a response, nothing else says that it isn't whole

    def refuse_and_say(self, status: int, text: str) -> None:
        logger.info("%s - %d: %s", client_of(self), status, text)
        self.refuse(status, text)

    def refuse_headers(self, is_url: bool) -> None:
        if is_url:
            self.refuse_and_say(414, f"The request line is longer than {self.max_header_bytes} bytes.")
        else:
            self.refuse_and_say(431, f"The header section is longer than {self.max_header_bytes} bytes.")


class HttpTools(Limited, HttpToolsProtocol):
    name = "httptools"
    unfinished_bytes = 0  # of a header section, or of what stands between a body's chunks: the parser keeps quiet

    def is_in_headers(self) -> bool:
        return private.is_in_headers_httptools(self)

    def data_received(self, data: bytes) -> None:
        if len(data) > self.max_header_bytes - self.unfinished_bytes:
            self._feed_in_pieces(data)
            return
        body_bytes = self.body_bytes
        super().data_received(data)
        if private.is_midway_httptools(self) and self.body_bytes == body_bytes:
            self.unfinished_bytes += len(data)
        else:
            self.unfinished_bytes = 0

    def _feed_in_pieces(self, data: bytes) -> None:
        """A loop hands over up to 256 KB at once: only what is within the limit may be parsed as a header section."""
        while data:
            room = self.max_header_bytes - self.unfinished_bytes
            if room <= 0:
                self.refuse_headers(is_url=2 * len(self.url) > self.max_header_bytes)
                return
            piece, data = data[:room], data[room:]
            self.data_received(piece)
            if self.transport.get_protocol() is not self or self.transport.is_closing():
                return  # refused, closed or upgraded

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer for each response: the deadlines have it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not private.start_queued_request(self) and self.refusal:
            self.refuse(*self.refusal)

    def send_400_response(self, msg: str) -> None:
        if len(self.url) > LONGEST_URL:
            self.refuse(414, f"The URL is longer than {LONGEST_URL} bytes.")
        else:
            self.refuse(400, msg)


class H11(Limited, H11Protocol):
    name = "h11"

    def is_in_headers(self) -> bool:
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def is_in_request_line(self) -> bool:
        return self.is_in_headers() and b"\n" not in self.conn.trailing_data[0]

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self.body_bytes += len(data)
        # h11 looks at the size of what isn't complete only. What it has of later requests (DONE) isn't its to limit.
        while self.conn.their_state is not h11.DONE:
            room = self.max_header_bytes - len(self.conn.trailing_data[0])
            if len(data) <= room:
                break
            if room <= 0:
                self.refuse_headers(self.is_in_request_line())
                return
            piece, data = data[:room], data[room:]
            super().data_received(piece)
            if self.transport.get_protocol() is not self or self.transport.is_closing():
                return  # refused, closed or upgraded
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        status = private.h11_status_hint()
        if status == 431:
            self.refuse_headers(self.is_in_request_line())
        else:
            self.refuse(status, msg)


def limited(http: Any, max_header_bytes: int) -> Any:
    """The protocol that ``http`` names, with the limit; whatever isn't httptools or h11 is given back as it is."""
    protocol = {"auto": HttpTools, "httptools": HttpTools, "h11": H11}.get(http)
    return type(protocol.__name__, (protocol,), {"max_header_bytes": max_header_bytes}) if protocol else http
