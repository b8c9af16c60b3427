"""The same where HTTP is h11; imported only then."""

from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from django_asgi_deploy.server import private
from django_asgi_deploy.server.limited import Limited

FRAMINGS = (b"content-length", b"transfer-encoding")


class H11(Limited, H11Protocol):
    name = "h11"

    def __init__(self, config: uvicorn.Config, **options: Any) -> None:
        super().__init__(config, **options)
        self.conn = _Strict(h11.SERVER, self.max_header_bytes)

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


class _Strict(h11.Connection):
    """Refuses a request that gives its length in two ways, as httptools does.

    Somebody in front may go by the other one, and take for a body what is the next request here: request smuggling
    (RFC 9112, section 6.3).
    """

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request) and sum(name in FRAMINGS for name, _ in event.headers) > 1:
            raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding in one request")
        return event
