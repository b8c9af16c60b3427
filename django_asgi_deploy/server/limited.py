"""What a client may send, and how long it may take, for whichever of uvicorn's HTTP/1.1 protocols is used.

The limits on time are kept by ``deadlines.Deadlines``, which asks each connection what it waits for.
"""

import logging
from typing import Any

from django_asgi_deploy.server import private
from django_asgi_deploy.server.deadlines import Wait, Waiting, client_of
from django_asgi_deploy.server.refusal import Linger, response

logger = logging.getLogger("django_asgi_deploy.server")


class Limited:
    """What the protocols for httptools and for h11 (protocol_h11.py) share.

    ``max_header_bytes`` is for the request line and the header section together.
    """

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
