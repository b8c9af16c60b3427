"""What is wrong with an answer: an exception, a status of 500 and above, no answer in time."""

import traceback
from dataclasses import replace

from django.core.exceptions import SynchronousOnlyOperation

from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_of_error
from django_asgi_deploy.checks.probe import Answer, Lifespan


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

    def judge(self, answer: Answer) -> bool:
        """Whether the answer is fine."""
        finding = self._of_request(answer)
        if finding:
            self._add(finding, f"{answer.method} {answer.url}")
        return finding is None

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
            self._add(finding, "a client that leaves")

    def judge_lifespan(self, lifespan: Lifespan, step: str) -> None:
        """Of the step just made."""
        if lifespan.outcome in ("complete", "not spoken"):
            return
        then = "the server doesn't start" if step == "startup" else "the server's end is not clean"
        what = f"no answer {self.within}" if lifespan.outcome == "no answer" else f"failed, saying {lifespan.message!r}"
        hint = f"Look at what the application does on lifespan.{step}{_at(lifespan.place)}."
        self._add(found(13, f"{what}: {then}", hint, place=lifespan.place), f"lifespan {step}")

    def _add(self, finding: Finding, what: str) -> None:
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
            return _raised(f"the application raises {_one_line(answer.error)}", answer.error)
        if not answer.ended_well:
            return found(701, "the application ends without a whole response", "Look at what wraps Django.")
        if answer.status is not None and answer.status >= 500:
            if answer.exceptions:
                error = answer.exceptions[-1]
                return _raised(f"status {answer.status}, {_one_line(error)}", error)
            return found(701, f"status {answer.status}", "No exception was raised: the view answers so itself.")
        return None


def _raised(message: str, error: BaseException) -> Finding:
    place = place_of_error(error)
    hint = f"Look at {place}." if place else f"It is raised in an installed package{_innermost(error)}."
    if isinstance(error, SynchronousOnlyOperation):
        hint = f"Use the a-method (aget(), asave(), ...), or sync_to_async(){_at(place)}."
    return found(701, message, hint, place=place)


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f": {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _at(place: Place | None) -> str:
    return f" ({place})" if place else ""


def _one_line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    return text if len(text) <= 200 else f"{text[:197]}..."
