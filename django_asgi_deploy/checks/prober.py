"""Drives the application over the ASGI protocol, in this process, and notes what comes of it."""

import asyncio
import contextvars
import logging
import secrets
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from django.conf import settings as django_settings
from django.urls import ResolverMatch, get_resolver
from django.utils import translation

from django_asgi_deploy import conf
from django_asgi_deploy.asgi import Application, assemble
from django_asgi_deploy.checks.faults import Faults
from django_asgi_deploy.checks.hops import Hop, attributed, counting, noted, qualified
from django_asgi_deploy.checks.middleware import Replay, spread
from django_asgi_deploy.checks.probe import (
    GRACE_SECONDS,
    STREAM_SECONDS,
    Answer,
    Exchange,
    Lifespan,
    LoopBlocked,
    LoopThread,
    Visitor,
    exceptions_noted,
)
from django_asgi_deploy.checks.probed import Probed, Request
from django_asgi_deploy.checks.waiting import Waiting
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.handlers.views import is_async
from django_asgi_deploy.project import Project
from django_asgi_deploy.types import ASGIApp

IN_WORDS = {"django": "Django's own handler", "pooled": "the pooled handler"}


def probe(settings: conf.Settings, project: Project, urls: Iterable[str], deadline_seconds: float) -> Probed:
    """Everything that can be seen by driving it."""
    visitor = Visitor(_allowed_host(), "https" if django_settings.SECURE_SSL_REDIRECT else "http")
    report = Probed(host=f"{visitor.scheme}://{visitor.host}")
    with _quiet(), exceptions_noted():
        _Prober(settings, project, report, visitor, deadline_seconds).probe(urls)
    return report


def _allowed_host() -> str:
    """A host that the project serves, preferably the first that it names."""
    for pattern in django_settings.ALLOWED_HOSTS:
        if pattern != "*":
            return str(pattern).removeprefix(".")
    return "localhost"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without log lines about requests that nobody made: they could go to a file, into a mail, to a service."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Prober:
    def __init__(
        self,
        settings: conf.Settings,
        project: Project,
        report: Probed,
        visitor: Visitor,
        deadline_seconds: float,
    ) -> None:
        self.settings = project.ours.asgi_deploy_settings if project.ours else settings
        self.project = project
        self.pooled = project.pooled
        self.app = project.application
        self.report = report
        self.visitor = visitor
        self.deadline_seconds = deadline_seconds
        self.faults = Faults(deadline_seconds)
        self.older_threads = {thread.ident or 0 for thread in threading.enumerate()}
        self.thread = LoopThread()
        self.state: dict[str, Any] = {}
        self.prefix = (django_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
        # A path that the project can't have.
        self.missing = f"{self.prefix}/checkasgi-{secrets.token_hex(4)}/"

    def probe(self, urls: Iterable[str]) -> None:
        lifespan = self._start()
        self._ask_for_what_is_not_there()
        self._leave()
        compared = self._handlers()
        for url in dict.fromkeys(urls):
            self._visit(url, compared)
        other = compared.get("pooled")
        if other and not self.pooled and isinstance(other.handler, PooledHandler):
            for reason in other.handler.fallback_reasons:
                self.report.notes.append(f"the pooled handler would leave to Django's own {reason}")
        self._stop(lifespan, [app for app in compared.values() if app is not self.project.ours])
        self.report.findings += self.faults.findings()
        if not self.thread.close():
            self.report.left_behind = True

    # One request

    def _ask(
        self,
        app: ASGIApp,
        method: str,
        url: str,
        *,
        body: list[bytes] | None = None,
        leave: asyncio.Event | None = None,
        hops: list[Hop] | None = None,
    ) -> Answer:
        context = contextvars.Context()
        if hops is not None:
            context.run(noted.set, hops)
        scope = self.visitor.scope(method, url, self.state, size=sum(map(len, body or ())))
        exchange = Exchange(app, scope, body or (), leave)
        exchange.answer.url = url
        answer = exchange.answer
        longest = self.deadline_seconds + GRACE_SECONDS + STREAM_SECONDS + 1
        try:
            self.thread.run(exchange.run(self.deadline_seconds, context, self.older_threads), longest)
        except LoopBlocked as blocked:
            answer.is_late = answer.blocks = answer.is_left_behind = True
            answer.place, answer.seconds = blocked.place, longest
            self.thread = LoopThread()  # the other one is lost
        self.report.left_behind |= answer.is_left_behind
        return answer

    def _add(self, purpose: str, answer: Answer, outcome: str | None = None) -> Request:
        match = None if purpose == "leave" else self._match(answer.url)
        request = Request(purpose, answer, outcome or _outcome(answer))
        if match:
            request.view, request.view_is_async = qualified(match.func), is_async(match.func)
        self.report.requests.append(request)
        return request

    def _match(self, url: str) -> ResolverMatch | None:
        path_info = unquote(url.partition("?")[0]).removeprefix(self.prefix)
        language = translation.get_language_from_path(path_info) or django_settings.LANGUAGE_CODE
        try:
            with translation.override(language):
                return get_resolver().resolve(path_info)
        except Exception:  # also a converter that fails: the request will say so
            return None

    # What every project can be asked

    def _ask_for_what_is_not_there(self) -> None:
        if match := self._match(self.missing):
            self.report.notes.append(
                f"every path leads to a view ({qualified(match.func)}): no 404 and no POST was asked for"
            )
            return
        for method, body in (("GET", None), ("POST", [b"checkasgi=", b"1"])):
            answer = self._ask(self.app, method, self.missing, body=body)
            self._add("missing", answer)
            self.faults.judge(answer)

    def _leave(self) -> None:
        waiting = Waiting(self.missing)
        waiting.loop = self.thread.loop
        with waiting.installed(self.missing.removeprefix(self.prefix)):
            answer = self._ask(self.app, "GET", self.missing, leave=waiting.leave)
        if not waiting.was_entered:
            outcome = f"not tried: {_outcome(answer)} before any view"
            if not answer.ended_well:
                self.faults.judge(answer)
        elif waiting.was_cancelled and not answer.is_late:
            outcome = "the view is cancelled"
            self.faults.judge_leaving(answer)
        else:
            outcome = "the view goes on" if not waiting.was_cancelled else "the request goes on"
            self.faults.judge_leaving(answer)
        self._add("leave", answer, outcome)

    # The user's URLs

    def _visit(self, url: str, compared: Mapping[str, Application]) -> None:
        if self._is_exhausted():
            self.report.notes.append(f"{url} was not requested: what hangs holds all threads")
            return
        answer = self._ask(self.app, "GET", url)
        request = self._add("url", answer)
        if not self.faults.judge(answer):
            request.notes.append("hops were not measured, because the request fails")
            return
        head = self._ask(self.app, "HEAD", url)
        self._add("url", head)
        self.faults.judge(head)
        for name, app in compared.items():
            request.hops[name] = self._measure(name, app, request)

    def _is_exhausted(self) -> bool:
        return self.pooled is not None and self.pooled.stats().abandoned >= self.pooled.threads

    def _measure(self, name: str, app: ASGIApp, request: Request) -> list[Hop] | None:
        hops: list[Hop] = []
        with counting(self.thread.loop):
            answer = self._ask(app, "GET", request.answer.url, hops=hops)
        if not answer.ended_well:
            fault = "no answer within the deadline" if answer.is_late else f"{answer.error or 'no whole answer'}"
            request.notes.append(f"{IN_WORDS[name]}: {fault}")
            return None
        if answer.status != request.answer.status:
            request.notes.append(f"{IN_WORDS[name]} answered {answer.status} when it was measured")
        middleware = [each.name for each in self.report.middleware]
        return [spread(hop, self.report.middleware) for hop in attributed(hops, middleware, request.view)]

    def _handlers(self) -> dict[str, Application]:
        """Our assembly with each of the two handlers; the one that is served is the very same."""
        replay = Replay()
        self.report.middleware = replay.entries
        ours = self.project.ours
        found: dict[str, Application] = {}
        if ours and self.pooled is None:
            found["django"] = ours
        elif replay.handler:
            found["django"] = assemble(replace(self.settings, handler="django"), replay.handler)
        else:
            self.report.notes.append(f"Django's own handler can't be built beside the served one: {replay.error!r}")
        if ours and self.pooled:
            found["pooled"] = ours
        else:
            try:
                found["pooled"] = assemble(replace(self.settings, handler="pooled"))
            except Exception as error:
                self.report.notes.append(f"the pooled handler can't be built beside the served one: {error!r}")
        return found

    # Lifespan

    def _start(self) -> Lifespan | None:
        lifespan = Lifespan(self.app)
        self._step(lifespan, "startup")
        self.state = lifespan.state
        self.report.lifespan = f"startup {lifespan.outcome}"
        if lifespan.outcome == "not spoken":
            self.report.lifespan = "not spoken: served without it"
        return lifespan if lifespan.outcome == "complete" else None

    def _stop(self, lifespan: Lifespan | None, others: Iterable[ASGIApp]) -> None:
        if self.report.left_behind:
            self.report.lifespan += ", shutdown not tried: something still hangs"
            return
        for app in others:
            other = Lifespan(app)
            self.thread.run(other.start(GRACE_SECONDS), 2 * GRACE_SECONDS)
            self.thread.run(other.stop(2 * GRACE_SECONDS), 4 * GRACE_SECONDS)
        if lifespan:
            self._step(lifespan, "shutdown")
            self.report.lifespan += f", shutdown {lifespan.outcome}"

    def _step(self, lifespan: Lifespan, name: str) -> None:
        step = lifespan.start if name == "startup" else lifespan.stop
        try:
            self.thread.run(step(self.deadline_seconds), self.deadline_seconds + GRACE_SECONDS)
        except LoopBlocked as blocked:
            lifespan.outcome, lifespan.place = "no answer", blocked.place
            self.thread = LoopThread()
            self.report.left_behind = True
        self.faults.judge_lifespan(lifespan, name)


def _outcome(answer: Answer) -> str:
    """In words."""
    if answer.blocks:
        return "blocks the event loop"
    if answer.is_late:
        return "goes on after its client has left" if answer.is_cut else "no answer"
    if answer.error:
        return f"raises {type(answer.error).__name__}"
    if not answer.ended_well:
        return "no whole answer"
    shown = answer.headers.get("content-type", "").partition(";")[0]
    if location := answer.headers.get("location"):
        shown = f"to {location}"
    return f"{shown}, a stream, left after {answer.size} bytes" if answer.is_cut else shown
