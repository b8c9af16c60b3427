"""What is wrong with a WebSocket's handshake: nobody answers it, it fails, or it is accepted from any site's pages."""

import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

from django.conf import settings as django_settings
from django.core.exceptions import ObjectDoesNotExist, SynchronousOnlyOperation
from django.http import Http404

from django_asgi_deploy.checks import visitors
from django_asgi_deploy.checks.driver import Driver
from django_asgi_deploy.checks.faults import Faults, one_line, raised
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_of_error
from django_asgi_deploy.checks.handshake import Handshake, tells_of_leaving
from django_asgi_deploy.checks.probed import Request
from django_asgi_deploy.checks.websockets import WebSocket
from django_asgi_deploy.checks.writes import Writes

ELSEWHERE = "https://elsewhere.invalid"  # a name that nobody can have (RFC 6761)


@dataclass(frozen=True)
class Way:
    """Who opens it, and where."""

    in_words: str
    origin: str | None
    is_logged_in: bool = False


class Handshakes:
    """Tries WebSockets, and adds findings to the faults."""

    def __init__(
        self,
        driver: Driver,
        faults: Faults,
        warned: list[warnings.WarningMessage],
        session: visitors.Session | None,
        writes: Writes,
    ) -> None:
        self.driver = driver
        self.faults = faults
        self.warned = warned
        self.session = session
        self.writes = writes
        self.refused: dict[str, None] = {}  # what would have written; a set in order

    def requests(self, socket: WebSocket) -> Iterator[Request]:
        """Each handshake; after one that hangs, no more."""
        for way in self._ways():
            warned_before, refused_before = len(self.warned), self.writes.count
            handshake = self._open(socket, way)
            what = f"WS {socket.path}{way.in_words}"
            yield Request("websocket", handshake.answer, _outcome(handshake, way), socket.name)
            unseen = self.driver.thread.unseen
            unseen[:] = [error for error in unseen if not tells_of_leaving(error)]  # of a task that still sends
            self.faults.judge_unseen(unseen, what)
            self.faults.judge_warnings(self.warned[warned_before:], what, socket.place)
            finding = self._of(handshake, socket)
            if self.writes.count > refused_before:
                self.refused[what] = None
            is_excused = what in self.refused or (way.is_logged_in and self._is_nobody)
            if finding and (not is_excused or isinstance(handshake.answer.error, SynchronousOnlyOperation)):
                self.faults.add(finding, what)
            self.faults.judge_holding(handshake.answer, what)
            if handshake.was_accepted and way.origin == ELSEWHERE and not socket.takes_all_origins:
                self.faults.add(_hijacked(socket, way), f"WS {socket.path}")
            if handshake.answer.is_late or handshake.goes_on:
                return

    def _ways(self) -> Iterator[Way]:
        """By the site's own page, without and with a login; by a page elsewhere, with its cookies; by a program."""
        own = f"{self.driver.visitor.scheme}://{self.driver.visitor.host}"
        yield Way("", own)
        if self.session:
            yield Way(", logged in", own, is_logged_in=True)
        yield Way(", from another site", ELSEWHERE, is_logged_in=self.session is not None)
        yield Way(", without Origin", None)

    @property
    def _is_nobody(self) -> bool:
        """Whether it may fail because there is no such user; a query on the event loop fails for all."""
        return self.session is not None and self.session.problem is not None

    def _open(self, socket: WebSocket, way: Way) -> Handshake:
        is_known = way.is_logged_in and self.session is not None
        cookie = visitors.cookie() if is_known else None
        with visitors.logged_in(self.session.data) if is_known and self.session else nullcontext():
            handshake = self.driver.connect(socket.path, way.origin, cookie)
            if handshake.answer.stalls and not handshake.answer.is_late:
                handshake.answer.keep_stalls_of(self.driver.connect(socket.path, way.origin, cookie).answer)
        return handshake

    def _of(self, handshake: Handshake, socket: WebSocket) -> Finding | None:
        answer, within = handshake.answer, self.faults.within
        place = answer.place or socket.place
        if answer.blocks:
            return found(
                702,
                f"the handshake holds the event loop, and doesn't give it back {within}: nothing else is served "
                "meanwhile",
                "Await it, wrap it in sync_to_async() or database_sync_to_async(), or take a synchronous consumer"
                f"{_at(answer.place)}.",
                place=place,
            )
        if answer.is_late:
            return found(
                708,
                f"the handshake isn't answered {within}: the browser waits, and the page's WebSocket never opens",
                "Accept it, or close it, before anything else that may take long: await self.accept() in connect()"
                f"{_at(answer.place)}.",
                place=place,
            )
        error = answer.error
        if handshake.violation:
            return found(
                701,
                f"{handshake.violation}: the server refuses that, and ends the connection",
                "Accept once, then send; after close(), return.",
                place=answer.place or (place_of_error(error) if error else None) or socket.place,
            )
        if error and not (socket.is_guessed and isinstance(error, ObjectDoesNotExist | Http404)):
            when = ", when its client has left" if handshake.has_left else ""
            finding = raised(f"the application raises {one_line(error)}{when}", error)
            return finding if finding.place else replace(finding, place=socket.place)
        if answer.status is None and not error:
            return found(
                701,
                "the application ends without an answer to the handshake: the connection fails",
                'Send "websocket.accept" or "websocket.close", and receive until "websocket.disconnect" comes.',
                place=place,
            )
        if (answer.status or 0) >= 500:
            return found(701, f"status {answer.status}", "The application answers so itself.", place=place)
        if handshake.goes_on:
            return found(
                705,
                f"it goes on after its client has left, {within} at least: each reload of the page leaves one more "
                "running",
                f"End with websocket.disconnect; look for what swallows it, or never receives{_at(answer.place)}.",
                place=place,
            )
        return None


def _hijacked(socket: WebSocket, way: Way) -> Finding:
    hint = (
        "Put AllowedHostsOriginValidator of channels.security.websocket around it; or name it in "
        'ASGI_DEPLOY["WEBSOCKET"], which checks the origin.'
    )
    allows_all = "*" in django_settings.ALLOWED_HOSTS
    if allows_all:
        hint += ' With "*" in ALLOWED_HOSTS, that allows every site, too: name the hosts.'
    whom = "a logged-in visitor" if way.is_logged_in else "a visitor"
    return found(
        603,
        f"a handshake that a page of another site opens with the cookies of {whom} is accepted: any page can connect "
        "in the visitor's name.",
        hint,
        level="info" if allows_all and django_settings.DEBUG else None,
        place=socket.checked_at or socket.place,
    )


def _outcome(handshake: Handshake, way: Way) -> str:
    """In words."""
    return _what_came(handshake) + way.in_words


def _what_came(handshake: Handshake) -> str:
    answer = handshake.answer
    if answer.blocks:
        return "blocks the event loop"
    if answer.is_late:
        return "no answer"
    if handshake.violation:
        return handshake.violation
    if answer.error:
        return f"raises {type(answer.error).__name__}"
    if handshake.goes_on:
        return "goes on after its client has left"
    if answer.status is None:
        return "ends without an answer"
    return "accepted" if handshake.was_accepted else "refused"


def _at(place: Place | None) -> str:
    return f" ({place})" if place else ""
