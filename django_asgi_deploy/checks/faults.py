"""What is wrong with an answer: an exception, a status of 500 and above, no answer in time."""

import traceback
import warnings
from collections.abc import Iterable
from dataclasses import replace

from django.core.exceptions import SynchronousOnlyOperation

from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_of_error, relative
from django_asgi_deploy.checks.probe import Answer, Blocked, Lifespan
from django_asgi_deploy.checks.stalls import STALL_SECONDS
from django_asgi_deploy.exceptions import is_users

NEVER_AWAITED = "was never awaited"
ITERATORS = "must consume"  # "StreamingHttpResponse must consume synchronous iterators in order to serve them ..."
WATCHER = "/blockbuster/"  # stands in between, and is no cause
MASKED = "'async_generator' object is not iterable"


class Faults:
    """Findings by cause: requests that fail alike share one."""

    def __init__(self, deadline_seconds: float) -> None:
        self.within = f"within {deadline_seconds:g} second{'s' * (deadline_seconds != 1)}"
        self._found: dict[Finding, list[str]] = {}

    def findings(self) -> list[Finding]:
        """Each with the requests that it was found on in front."""
        return [
            replace(finding, object=", ".join(objects), message=f"{', '.join(objects)}: {finding.message}")
            for finding, objects in self._found.items()
        ]

    def judge(
        self, answer: Answer, visitor: str = "", *, view: Place | None = None, only_on_the_loop: bool = False
    ) -> bool:
        """Whether the answer is fine. ``visitor`` is told behind the URL; ``view`` is where its view is.

        ``only_on_the_loop``: of errors, only queries on the event loop count.
        """
        what = f"{answer.method} {answer.url}{visitor}"
        finding = self._of_request(answer)
        if finding and finding.place is None:
            finding = replace(finding, place=view)
        errors = [answer.error, *answer.exceptions]
        if only_on_the_loop and not any(isinstance(error, SynchronousOnlyOperation) for error in errors):
            return finding is None
        if finding:
            self.add(finding, what)
        self.judge_holding(answer, what)
        return finding is None

    def judge_holding(self, answer: Answer, what: str) -> None:
        """Of the calls that held the event loop for a while."""
        if answer.blocks:
            return
        for blocked in answer.blocked:
            self.add(_blocking(blocked), what)
        known = {blocked.place[:2] for blocked in answer.blocked}
        for place in answer.stalls:
            if place[:2] not in known:
                self.add(_stalling(place), what)

    def judge_warnings(self, warned: Iterable[warnings.WarningMessage], what: str, place: Place | None) -> None:
        """Of what Django and Python warned of meanwhile; ``place`` is the view's."""
        for warning in warned:
            if NEVER_AWAITED in str(warning.message):
                self.add(_never_awaited(warning), what)
            elif ITERATORS in str(warning.message):
                self.add(_collected(str(warning.message), place), what)

    def judge_unseen(self, errors: list[BaseException], what: str) -> None:
        """Of what failed beside the request; the list is emptied."""
        while errors:
            error = errors.pop(0)
            if place := place_of_error(error):
                self.add(
                    found(
                        703,
                        f"a task fails with {one_line(error)}, and nobody sees it: what it should do is not done.",
                        "Await the task, or add a callback to it that logs its exception.",
                        place=place,
                    ),
                    what,
                )

    def judge_leaving(self, answer: Answer) -> None:
        """Of a request whose client leaves while the view runs."""
        finding = self._of_request(answer) if answer.blocks or answer.error else None
        if answer.is_late and not answer.blocks:
            finding = found(
                705,
                f"the request goes on {self.within}: whoever reloads the page leaves one more view running",
                "Look for middleware that catches asyncio.CancelledError, or shields what it awaits"
                f"{_at(answer.place)}.",
                place=answer.place,
            )
        if finding:
            self.add(finding, "a client that leaves")

    def judge_lifespan(self, lifespan: Lifespan, step: str) -> None:
        """Of the step just made."""
        if lifespan.outcome in ("complete", "not spoken"):
            return
        then = "the server doesn't start" if step == "startup" else "the server's end is not clean"
        what = f"no answer {self.within}" if lifespan.outcome == "no answer" else f"failed, saying {lifespan.message!r}"
        hint = f"Look at what the application does on lifespan.{step}{_at(lifespan.place)}."
        self.add(found(13, f"{what}: {then}", hint, place=lifespan.place), f"lifespan {step}")

    def add(self, finding: Finding, what: str) -> None:
        """``what`` it was found on: findings that are alike share one."""
        objects = self._found.setdefault(finding, [])
        if what not in objects:
            objects.append(what)

    def _of_request(self, answer: Answer) -> Finding | None:
        if answer.blocks:
            return found(
                702,
                f"the event loop is held, and not given back {self.within}: nothing else is served meanwhile",
                f"Await it, or wrap it in sync_to_async(), or make the view synchronous{_at(answer.place)}.",
                place=answer.place,
            )
        if answer.is_late:
            what = "the stream goes on after its client has left" if answer.is_cut else "no answer"
            return found(
                708,
                f"{what} {self.within}",
                f"Give what it waits for a deadline{_at(answer.place)}; or raise --timeout if it may take so long.",
                place=answer.place,
            )
        if answer.error:
            return raised(f"the application raises {one_line(answer.error)}", answer.error)
        if not answer.ended_well:
            return found(701, "the application ends without a whole response", "Look at what wraps Django.")
        if answer.status is not None and answer.status >= 500:
            if answer.exceptions:
                error = answer.exceptions[-1]
                return raised(f"status {answer.status}, {one_line(error)}", error)
            return found(701, f"status {answer.status}", "No exception was raised: the view answers so itself.")
        return None


def _blocking(blocked: Blocked) -> Finding:
    waits = blocked.function.startswith(("time.", "socket.", "ssl.", "builtins."))
    return found(
        702,
        f"{blocked.function} holds the event loop: all other visitors wait until it is done.",
        "Call it in asyncio.to_thread(), or with sync_to_async() if it queries the database; or take an asynchronous "
        "library.",
        level="error" if waits else "warning",
        place=blocked.place,
    )


def _stalling(place: Place) -> Finding:
    return found(
        702,
        f"this holds the event loop for longer than {STALL_SECONDS:g} seconds, each time: all other visitors wait "
        "until it is done.",
        "Call it in asyncio.to_thread(), or, if it computes for long, leave it to a task queue; or make the view "
        "synchronous.",
        level="warning",
        place=place,
    )


def _never_awaited(warning: warnings.WarningMessage) -> Finding:
    origin = getattr(warning.source, "cr_origin", None) or ()
    at = next(((file, line, name) for file, line, name in origin if is_users(file)), None)
    return found(
        703,
        f"{str(warning.message).partition(chr(10))[0]}: what it should do is not done.",
        "Write await in front of the call.",
        place=Place(relative(at[0]), at[1], at[2]) if at else None,
    )


def _collected(message: str, place: Place | None) -> Finding:
    return found(
        703,
        f"{message.split('. ')[0]}: the stream is collected in memory before its first byte is sent.",
        "Give StreamingHttpResponse an asynchronous generator.",
        place=place,
    )


def raised(message: str, error: BaseException) -> Finding:
    """What an exception tells."""
    place = place_of_error(error)
    if isinstance(error, TypeError) and MASKED in str(error):
        return found(
            422,
            f"{message}. That hides another: a TypeError was raised inside the asynchronous stream.",
            f"Look for a wrong call in what the stream does{_at(place)}; iterate over it in a test to see the error "
            "itself.",
            level="error",
            place=place,
        )
    hint = f"Look at {place}." if place else f"It is raised in an installed package{_innermost(error)}."
    if isinstance(error, SynchronousOnlyOperation):
        hint = f"Use the a-method (aget(), asave(), ...), or sync_to_async(){_at(place)}."
    return found(701, message, hint, place=place)


def _innermost(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if WATCHER not in frame.filename]
    return f": {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _at(place: Place | None) -> str:
    return f" ({place})" if place else ""


def one_line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    return text if len(text) <= 200 else f"{text[:197]}..."
