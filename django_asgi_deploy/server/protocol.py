"""uvicorn's HTTP/1.1 protocols with limits, by the name that HTTP gives them; here, the usual one."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from django_asgi_deploy.server import private
from django_asgi_deploy.server.limited import Limited

LONGEST_URL = 65535  # bytes; httptools can't take a longer one apart


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


def limited(http: Any, max_header_bytes: int) -> Any:
    """The protocol that ``http`` names, with the limit; whatever isn't httptools or h11 is given back as it is."""
    if http in ("auto", "httptools"):
        protocol: type = HttpTools
    elif http == "h11":
        from django_asgi_deploy.server.protocol_h11 import H11  # with h11, which takes a while to import

        protocol = H11
    else:
        return http
    return type(protocol.__name__, (protocol,), {"max_header_bytes": max_header_bytes})
