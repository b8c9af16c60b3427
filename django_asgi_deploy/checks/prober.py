"""Drives the application over the ASGI protocol, in this process, and notes what comes of it."""

import logging
import secrets
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from urllib.parse import unquote

from django.apps import apps
from django.conf import settings as django_settings
from django.urls import ResolverMatch, get_resolver
from django.utils import translation

from django_asgi_deploy import conf
from django_asgi_deploy.asgi import Application, assemble
from django_asgi_deploy.checks import blocking, visitors
from django_asgi_deploy.checks.driver import Driver
from django_asgi_deploy.checks.faults import Faults
from django_asgi_deploy.checks.frames import Place, place_in
from django_asgi_deploy.checks.handshakes import Handshakes
from django_asgi_deploy.checks.hops import Hop, attributed, counting, qualified
from django_asgi_deploy.checks.leaks import Connections
from django_asgi_deploy.checks.middleware import Replay, spread
from django_asgi_deploy.checks.probe import GRACE_SECONDS, Answer, Lifespan, LoopBlocked, Visitor, exceptions_noted
from django_asgi_deploy.checks.probed import Probed, Request
from django_asgi_deploy.checks.trials import Trials, static_file, too_many_connections
from django_asgi_deploy.checks.waiting import Waiting
from django_asgi_deploy.checks.websockets import WebSocket
from django_asgi_deploy.checks.writes import Refused, Writes
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.handlers.views import is_async
from django_asgi_deploy.project import Project
from django_asgi_deploy.types import ASGIApp

IN_WORDS = {"django": "Django's own handler", "pooled": "the pooled handler"}
LOGGED_IN = ", logged in"
MOST_NAMED = 5  # in a note

Progress = Callable[[str], None]


def probe(
    settings: conf.Settings,
    project: Project,
    urls: Sequence[str],
    deadline_seconds: float,
    *,
    named: bool,
    read_only: Collection[str] = (),
    websockets: Sequence[WebSocket] = (),
    progress: Progress = lambda text: None,
) -> Probed:
    """Everything that can be seen by driving it.

    ``named``: the user has chosen these URLs, and wants to know the hops of each; else those of the first good page.
    ``read_only``: of these URLs, those that may not write. Unless they are chosen, none deletes in a user's name.
    """
    visitor = Visitor(_allowed_host(), "https" if django_settings.SECURE_SSL_REDIRECT else "http")
    report = Probed(host=f"{visitor.scheme}://{visitor.host}")
    with ExitStack() as stack:
        warned = stack.enter_context(_quiet())
        stack.enter_context(exceptions_noted())
        if not stack.enter_context(blocking.noted()):
            report.notes.append(
                f"calls that hold the event loop for a moment aren't seen; to see them: {blocking.EXTRA}"
            )
        prober = _Prober(settings, project, report, Driver(project.application, visitor, deadline_seconds), warned)
        stack.enter_context(prober.connections.noted())
        stack.enter_context(prober.writes.watched())
        prober.probe(urls, read_only, websockets, named=named, progress=progress)
    return report


def _allowed_host() -> str:
    """A host that the project serves, preferably the first that it names."""
    for pattern in django_settings.ALLOWED_HOSTS:
        if pattern != "*":
            return str(pattern).removeprefix(".")
    return "localhost"


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Without log lines about requests that nobody made: they could go to a file, into a mail, to a service.

    Gives a list to which warnings are added as they come.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield warned
    finally:
        logging.disable(before)


class _Prober:
    def __init__(
        self,
        settings: conf.Settings,
        project: Project,
        report: Probed,
        driver: Driver,
        warned: list[warnings.WarningMessage],
    ) -> None:
        self.settings = project.ours.asgi_deploy_settings if project.ours else settings
        self.project = project
        self.pooled = project.pooled
        self.report = report
        self.driver = driver
        self.warned = warned
        self.faults = Faults(driver.deadline_seconds)
        self.connections = Connections()
        self.writes = Writes()
        self.refused: dict[str, None] = {}  # what would have written; a set in order
        self.trials = Trials(driver, self.faults, self.connections, is_pooled=self.pooled is not None)
        self.prefix = (django_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
        # A path that the project can't have.
        self.missing = f"{self.prefix}/checkasgi-{secrets.token_hex(4)}/"

    def probe(
        self,
        urls: Sequence[str],
        read_only: Collection[str],
        websockets: Sequence[WebSocket],
        *,
        named: bool,
        progress: Progress,
    ) -> None:
        lifespan = self._start()
        self._ask_for_what_is_not_there()
        self._leave()
        compared = self._handlers()
        session = self._session()
        good: list[Answer] = []
        for number, url in enumerate(urls, 1):
            progress(f"GET {number} of {len(urls)}: {url}")
            with self._refusing("writes" if url in read_only else "nothing"):
                answer = self._visit(url, compared if named or not good else {})
            if answer:
                good.append(answer)
            if session and not self._hung(url):
                with self._refusing("writes" if url in read_only else "nothing" if named else "deletes"):
                    self._visit_logged_in(url, session)
        handshakes = Handshakes(self.driver, self.faults, self.warned, session, self.writes)
        for socket in websockets:
            progress(f"WebSocket {socket.path}")
            with self._refusing("nothing" if socket.is_named else "writes" if socket.is_guessed else "deletes"):
                self.report.requests += handshakes.requests(socket)
        self.refused |= handshakes.refused
        progress("")
        page = next((answer for answer in good if answer.status == 200), None)
        if page:
            with self._refusing("writes" if page.url in read_only else "nothing"):
                self.trials.of_site(page)
        self._ask_for_a_static_file()
        other = compared.get("pooled")
        if other and not self.pooled and isinstance(other.handler, PooledHandler):
            for reason in other.handler.fallback_reasons:
                self.report.notes.append(f"the pooled handler would leave to Django's own {reason}")
        self._stop(lifespan, [app for app in compared.values() if app is not self.project.ours])
        self._tell_refused()
        if self.pooled:
            self.report.findings += too_many_connections(self.settings.workers_decided[0], self.pooled.threads)
        self.report.findings += self.faults.findings()
        self.report.left_behind = self.driver.left_behind or not self.driver.thread.close()

    def _add(self, purpose: str, answer: Answer, outcome: str | None = None, visitor: str = "") -> Request:
        match = None if purpose == "leave" else self._match(answer.url)
        request = Request(purpose, answer, (outcome or _outcome(answer)) + visitor)
        if match:
            request.view, request.view_is_async = qualified(match.func), is_async(match.func)
        self.report.requests.append(request)
        return request

    @contextmanager
    def _refusing(self, what: Refused) -> Iterator[None]:
        """Meanwhile, this isn't done in the database."""
        has_sessions = apps.is_installed("django.contrib.sessions")
        with (
            self.writes.refused(what),
            visitors.no_session_written() if has_sessions and what == "writes" else nullcontext(),
        ):
            yield

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
        for method, body in (("GET", []), ("POST", [b"checkasgi=", b"1"])):
            answer = self.driver.ask(self.missing, method, body=body)
            self._add("missing", answer)
            self.faults.judge(answer)

    def _leave(self) -> None:
        waiting = Waiting(self.missing)
        waiting.loop = self.driver.thread.loop
        with waiting.installed(self.missing.removeprefix(self.prefix)):
            answer = self.driver.ask(self.missing, leave=waiting.leave)
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

    def _ask_for_a_static_file(self) -> None:
        url = static_file()
        if url and not self._match(url):
            answer = self.driver.ask(url)
            self._add("static", answer)
            self.report.serves_static = answer.status == 200

    # Pages

    def _visit(self, url: str, compared: Mapping[str, Application]) -> Answer | None:
        """The answer, if that is fine."""
        if self._is_exhausted():
            self.report.notes.append(f"{url} was not requested: what hangs holds all threads")
            return None
        warnings_before, opened_before, refused_before = len(self.warned), self.connections.count, self.writes.count
        open_before = self.connections.still_open().keys()
        answer = self._ask(url)
        request = self._add("url", answer)
        place = self._place(url)
        self.faults.judge_unseen(self.driver.thread.unseen, f"GET {url}")
        is_refused = self._note_refused(refused_before, f"GET {url}")
        if not self.faults.judge(answer, view=place, only_on_the_loop=is_refused):
            request.notes.append("hops were not measured, because the request fails")
            return None
        self.faults.judge_warnings(self.warned[warnings_before:], f"GET {url}", place)
        if self.connections.count > opened_before:
            self.trials.leaving_connections(answer.url, open_before)
        self.trials.of_page(answer, request.view_is_async, place)
        if compared:
            head = self.driver.ask(url, "HEAD")
            self._add("url", head)
            self.faults.judge(head)
        for name, app in compared.items():
            request.hops[name] = self._measure(name, app, request)
        self.faults.judge_unseen(self.driver.thread.unseen, f"GET {url}")
        return answer

    def _visit_logged_in(self, url: str, session: visitors.Session) -> None:
        warnings_before, refused_before = len(self.warned), self.writes.count
        with visitors.logged_in(session.data):
            answer = self._ask(url, visitors.cookie())
        self._add("url", answer, visitor=LOGGED_IN)
        place = self._place(url)
        self.faults.judge_unseen(self.driver.thread.unseen, f"GET {url}")
        is_refused = self._note_refused(refused_before, f"GET {url}{LOGGED_IN}")
        is_nobody = session.problem is not None
        if self.faults.judge(answer, LOGGED_IN, view=place, only_on_the_loop=is_nobody or is_refused):
            self.faults.judge_warnings(self.warned[warnings_before:], f"GET {url}{LOGGED_IN}", place)

    def _tell_refused(self) -> None:
        if self.refused:
            told = [*self.refused][:MOST_NAMED]
            more = len(self.refused) - len(told)
            self.report.notes.append(
                "what these would have written into the database was refused, so their errors weren't judged: "
                f"{', '.join(told)}{f' and {more} more' if more else ''}; to let them: --url PATH or --ws-url PATH"
            )

    def _note_refused(self, before: int, what: str) -> bool:
        """Whether it would have written."""
        if self.writes.count == before:
            return False
        self.refused[what] = None
        return True

    def _ask(self, url: str, cookie: str | None = None) -> Answer:
        """Once more where the event loop stood still."""
        answer = self.driver.ask(url, cookie=cookie)
        if answer.stalls and answer.ended_well:
            answer.keep_stalls_of(self.driver.ask(url, cookie=cookie))
        return answer

    def _place(self, url: str) -> Place | None:
        """Where the view is; a class in the place of the function that as_view() makes."""
        match = self._match(url)
        return place_in(getattr(match.func, "view_class", match.func)) if match else None

    def _session(self) -> visitors.Session | None:
        session = visitors.session_of_a_user()
        if session and session.problem:
            self.report.notes.append(
                f"of logged-in visitors only queries on the event loop are told: {session.problem}"
            )
        return session

    def _hung(self, url: str) -> bool:
        return any(each.answer.is_late for each in self.report.requests if each.answer.url == url)

    def _is_exhausted(self) -> bool:
        return self.pooled is not None and self.pooled.stats().abandoned >= self.pooled.threads

    def _measure(self, name: str, app: ASGIApp, request: Request) -> list[Hop] | None:
        hops: list[Hop] = []
        with counting(self.driver.thread.loop):
            answer = self.driver.ask(request.answer.url, app=app, hops=hops)
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
        lifespan = Lifespan(self.driver.app)
        self._step(lifespan, "startup")
        self.driver.state = lifespan.state
        self.report.lifespan = f"startup {lifespan.outcome}"
        if lifespan.outcome == "not spoken":
            self.report.lifespan = "not spoken: served without it"
        return lifespan if lifespan.outcome == "complete" else None

    def _stop(self, lifespan: Lifespan | None, others: Iterable[ASGIApp]) -> None:
        if self.driver.left_behind:
            self.report.lifespan += ", shutdown not tried: something still hangs"
            return
        for app in others:
            other = Lifespan(app)
            self.driver.thread.run(other.start(GRACE_SECONDS), 2 * GRACE_SECONDS)
            self.driver.thread.run(other.stop(2 * GRACE_SECONDS), 4 * GRACE_SECONDS)
        if lifespan:
            self._step(lifespan, "shutdown")
            self.report.lifespan += f", shutdown {lifespan.outcome}"

    def _step(self, lifespan: Lifespan, name: str) -> None:
        step = lifespan.start if name == "startup" else lifespan.stop
        seconds = self.driver.deadline_seconds
        try:
            self.driver.thread.run(step(seconds), seconds + GRACE_SECONDS)
        except LoopBlocked as blocked:
            lifespan.outcome, lifespan.place = "no answer", blocked.place
            self.driver.replace_thread()
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
