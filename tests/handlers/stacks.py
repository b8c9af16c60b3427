"""Middleware stacks and views made from small descriptions, each of whose steps writes down that it ran, and where.

A description is plain data, so that Hypothesis can shrink it and print it. `Site` makes the classes and functions anew
for each run, bound to one `Recorder`.
"""

import asyncio
import functools
import io
import itertools
import logging
import sys
import threading
import types
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from asgiref.local import Local
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib import messages
from django.contrib.sessions.backends import cache
from django.core import signals
from django.core.exceptions import BadRequest, MiddlewareNotUsed, PermissionDenied, SuspiciousOperation
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, transaction
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template.response import SimpleTemplateResponse
from django.urls import get_script_prefix, get_urlconf, path
from django.utils import translation
from django.utils.decorators import async_only_middleware, sync_and_async_middleware, sync_only_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views import View

# --- Descriptions ----------------------------------------------------------------------------------------------------

EXCEPTIONS = {
    "ValueError": ValueError,
    "Http404": Http404,
    "PermissionDenied": PermissionDenied,
    "SuspiciousOperation": SuspiciousOperation,
    "BadRequest": BadRequest,
}

# What a step does: "pass", "respond 200", "respond 404", "none", or "raise X" for an X of EXCEPTIONS.
Action = str


@dataclass(frozen=True)
class Hook:
    """process_view, process_exception or process_template_response."""

    is_async: bool
    action: Action


@dataclass(frozen=True)
class Middleware:
    form: str
    request: Action = "pass"
    response: Action = "pass"
    view: Hook | None = None
    exception: Hook | None = None
    template: Hook | None = None
    reroute: str = ""  # "", "path" or "urlconf": sends the request to the other view

    @property
    def classic(self):
        """Whether this is a MiddlewareMixin as most are: nothing overridden, every hook synchronous."""
        hooks = [hook for hook in (self.view, self.exception, self.template) if hook]
        return self.form == "classic" and not any(hook.is_async for hook in hooks)


@dataclass(frozen=True)
class ViewKind:
    form: str
    result: str = "plain"
    inside: str = ""

    @property
    def is_async(self):
        return self.form in ASYNC_VIEWS


@dataclass(frozen=True)
class Request:
    target: int = 0  # 0 or 1: the view; 2: a path that nothing answers
    body: tuple[bytes, ...] = ()
    leaves: bool = False  # the client disconnects before the body is complete


@dataclass(frozen=True)
class Case:
    middleware: tuple[Middleware, ...]
    views: tuple[ViewKind, ViewKind]
    requests: tuple[Request, ...]
    started: str = ""  # receivers of the signal: "", "sync", "async", "both" or "raise"
    finished: str = ""
    got_exception: str = ""
    error_views: bool = False
    atomic_requests: bool = False
    django_middleware: bool = False  # Django's default seven, the described ones among them
    at_once: bool = False  # the requests don't wait for each other

    @property
    def classic(self):
        return all(middleware.classic for middleware in self.middleware)

    def branch_may_differ(self, request):
        """Whether the request may run in synchronous form: its view is synchronous, or which view it gets is open."""
        if request.target == 2 or any(middleware.reroute for middleware in self.middleware):
            return True
        return not self.views[request.target].is_async


MIDDLEWARE_FORMS = [
    "classic",
    "classic both calls",
    "classic own call",
    "classic own acall",
    "classic sync only",
    "classic async only",
    "classic not used",
    "function sync",
    "function async",
    "function both",
    "class sync",
    "class both",
]
SYNC_VIEWS = ["function", "class", "object", "partial", "hidden coroutine", "async object"]
ASYNC_VIEWS = ["async function", "async class", "async partial", "marked"]
RESULTS = [
    "plain",
    "large",
    "cookie",
    "own close",
    "template",
    "template raising",
    "async render",
    "stream",
    "stream raising",
    "async stream",
    "async stream raising",
    "file",
    "none",
    *(f"raise {name}" for name in EXCEPTIONS),
]
INSIDE = ["", "bridge", "loose bridge", "query", "on commit", "language", "body"]
INSIDE_DJANGO_MIDDLEWARE = ["", "session", "message", "messages", "csrf", "user", *INSIDE]
# Where the described middleware stand: before these, in this order.
DJANGO_MIDDLEWARE = [
    None,
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    None,
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    None,
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    None,
]


# --- What is written down --------------------------------------------------------------------------------------------

TRAIL = ContextVar("TRAIL", default=())
THREAD_LOCAL = threading.local()
ASGIREF_LOCAL = Local()


class Event(NamedTuple):
    """One step: what ran, where, and what it could see.

    `nature` says what may be asked of the place:
    sync    thread-sensitive code: the request's one worker thread
    loose   synchronous code that Django runs in any thread (error responses, logging): not the loop's
    stream  synchronous code that makes a stream: not the loop's
    finish  the end of the response: the request's worker thread, or, if it streamed, any but the loop's
    async   the loop's thread; the task counts
    either  code of a hybrid middleware: the branch that ran says which of the two
    """

    name: str
    nature: str
    branch: str  # "", "sync" or "async"
    thread: str  # "loop", "worker", "worker 2", ... or "other" where no worker is asked for
    task: str  # "request", "child" or "none"
    trail: tuple
    ambient: tuple
    detail: object
    instance: int


class Served:
    """One request, and what is known of it: which threads and which task are its own."""

    def __init__(self, request_id):
        self.request_id = request_id
        self.events = []
        self.task = None
        self.workers = []
        self.streams = False


class Recorder:
    """Collects the events of one handler, one list for each request.

    Which request an event belongs to says the head of its trail: the driver sets it, and contexts carry it everywhere.
    """

    def __init__(self):
        self.constructions = []
        self.requests = []
        self.strays = []
        self._lock = threading.Lock()

    def begin(self):
        """Start the list of another request; called by the driver on the loop."""
        self.loop_thread = threading.current_thread()
        served = Served(f"request {len(self.requests)}")
        self.requests.append(served)
        return served

    @property
    def served(self):
        """The request whose context this is."""
        trail = TRAIL.get()
        for served in self.requests:
            if trail and trail[0] == served.request_id:
                return served
        return None

    def constructed(self, name):
        self.constructions.append(name)
        return self.constructions.count(name)

    def event(self, name, nature, *, branch="", detail=None, instance=0, leaves_trail=True):
        thread = threading.current_thread()
        task = "none"
        served = self.served
        if served is None:
            self.strays.append(f"{name} knows of no request: {TRAIL.get()}")
            return
        with self._lock:
            if thread is self.loop_thread:
                thread_label = "loop"
                current = asyncio.current_task()
                task = "request" if current is served.task else "child" if current else "none"
            elif nature in {"loose", "stream"} or (nature == "finish" and served.streams):
                thread_label = "other"
            else:
                if thread not in served.workers:
                    served.workers.append(thread)
                number = served.workers.index(thread) + 1
                thread_label = "worker" if number == 1 else f"worker {number}"
            trail = TRAIL.get()
            ambient = self.ambient(thread_label, served)
            served.events.append(Event(name, nature, branch, thread_label, task, trail, ambient, detail, instance))
        if leaves_trail:
            TRAIL.set((*trail, name))
            ASGIREF_LOCAL.token = served
            if thread_label == "worker":
                THREAD_LOCAL.token = served

    def ambient(self, thread_label, served):
        """What Django and others keep in locals: language, URLconf, prefix, and one of our own of either kind."""
        urlconf = get_urlconf()
        seen = (
            translation.get_language(),
            urlconf if urlconf is None else urlconf.rpartition(".")[2],
            get_script_prefix(),
            getattr(ASGIREF_LOCAL, "token", None) is served,
        )
        if thread_label == "worker":
            # A thread serves one request after another, under WSGI as in a pool: what an earlier one left is nothing.
            seen += (getattr(THREAD_LOCAL, "token", None) is served,)
        return seen


# --- Actions ---------------------------------------------------------------------------------------------------------


def act(action, name):
    """Do what the description says; None means: go on."""
    verb, _, argument = action.partition(" ")
    if verb == "respond":
        return HttpResponse(f"{name} responds", status=int(argument))
    if verb == "raise":
        raise EXCEPTIONS[argument](f"{name} raises")
    return None


def act_on_response(action, name, response):
    """Do what the description says with a response on its way out."""
    if action == "none":
        return None
    other = act(action, name)
    if other is not None:
        return other
    response[f"X-{name}"] = str(len(response.headers))
    return response


def facts(request):
    """What a middleware can see of a request before the view."""
    return (request.method, request.path_info, request.resolver_match is None, type(request).__name__)


# --- Middleware ------------------------------------------------------------------------------------------------------


def make_middleware(description, name, recorder, reroute):
    """Make one entry of MIDDLEWARE."""
    if description.form.startswith("function"):
        return _function_middleware(description, name, recorder, reroute)
    base = _classic_middleware if description.form.startswith("classic") else _plain_middleware
    members = _hooks(description, name, recorder)
    return types.new_class(name, (base(description, name, recorder, reroute),), exec_body=lambda ns: ns.update(members))


def _hooks(description, name, recorder):
    members = {}

    def add(hook, method, body):
        if hook is None:
            return
        if hook.is_async:

            async def step(self, *args):
                recorder.event(f"{name}.{method}", "async", detail=describe(args), instance=self.ordinal)
                await asyncio.sleep(0)
                return body(*args)
        else:

            def step(self, *args):
                recorder.event(f"{name}.{method}", "sync", detail=describe(args), instance=self.ordinal)
                return body(*args)

        members[method] = step

    def describe(args):
        seen = [repr(arg) for arg in args if isinstance(arg, Exception | tuple | dict)]
        return (*seen, getattr(sys.exc_info()[0], "__name__", None))

    add(description.view, "process_view", lambda *args: act(description.view.action, name))
    add(description.exception, "process_exception", lambda *args: act(description.exception.action, name))
    add(
        description.template,
        "process_template_response",
        lambda request, response: act_on_response(description.template.action, name, response),
    )
    return members


def _classic_middleware(description, name, recorder, reroute):
    class Classic(MiddlewareMixin):
        sync_capable = description.form != "classic async only"
        async_capable = description.form != "classic sync only"

        def __init__(self, get_response):
            self.ordinal = recorder.constructed(name)
            if description.form == "classic not used":
                raise MiddlewareNotUsed(name)
            super().__init__(get_response)

        def process_request(self, request):
            recorder.event(f"{name}.request", "sync", detail=facts(request), instance=self.ordinal)
            reroute(request)
            return act(description.request, name)

        def process_response(self, request, response):
            recorder.event(f"{name}.response", "sync", detail=type(response).__name__, instance=self.ordinal)
            return act_on_response(description.response, name, response)

    class BothCalls(Classic):
        def __call__(self, request):
            if iscoroutinefunction(self):
                return self.__acall__(request)
            recorder.event(f"{name}.call", "either", branch="sync", detail=facts(request))
            response = super().__call__(request)
            recorder.event(f"{name}.called", "either", branch="sync")
            return response

        async def __acall__(self, request):
            recorder.event(f"{name}.call", "either", branch="async", detail=facts(request))
            response = await super().__acall__(request)
            recorder.event(f"{name}.called", "either", branch="async")
            return response

    class OwnCall(Classic):
        def __call__(self, request):
            branch = "async" if iscoroutinefunction(self) else "sync"
            recorder.event(f"{name}.call", "either", branch=branch, detail=facts(request))
            return super().__call__(request)

    class OwnAcall(Classic):
        async def __acall__(self, request):
            # Only there in one of the two branches, so it leaves nothing behind.
            recorder.event(f"{name}.acall", "either", branch="async", leaves_trail=False)
            return await super().__acall__(request)

    return {
        "classic both calls": BothCalls,
        "classic own call": OwnCall,
        "classic own acall": OwnAcall,
    }.get(description.form, Classic)


def _plain_middleware(description, name, recorder, reroute):
    class Plain:
        sync_capable = True
        async_capable = description.form == "class both"

        def __init__(self, get_response):
            self.ordinal = recorder.constructed(name)
            self.get_response = get_response
            self.is_async = self.async_capable and iscoroutinefunction(get_response)
            if self.is_async:
                markcoroutinefunction(self)

        def __call__(self, request):
            if self.is_async:
                return self.respond(request)
            nature, branch = ("either", "sync") if self.async_capable else ("sync", "")
            recorder.event(f"{name}.request", nature, branch=branch, detail=facts(request))
            reroute(request)
            response = act(description.request, name) or self.get_response(request)
            recorder.event(f"{name}.response", nature, branch=branch, detail=type(response).__name__)
            return act_on_response(description.response, name, response)

        async def respond(self, request):
            recorder.event(f"{name}.request", "either", branch="async", detail=facts(request))
            reroute(request)
            response = act(description.request, name) or await self.get_response(request)
            recorder.event(f"{name}.response", "either", branch="async", detail=type(response).__name__)
            return act_on_response(description.response, name, response)

    return Plain


def _function_middleware(description, name, recorder, reroute):
    both = description.form == "function both"

    def sync_form(get_response):
        nature, branch = ("either", "sync") if both else ("sync", "")

        def middleware(request):
            recorder.event(f"{name}.request", nature, branch=branch, detail=facts(request))
            reroute(request)
            response = act(description.request, name) or get_response(request)
            recorder.event(f"{name}.response", nature, branch=branch, detail=type(response).__name__)
            return act_on_response(description.response, name, response)

        return middleware

    def async_form(get_response):
        nature, branch = ("either", "async") if both else ("async", "")

        async def middleware(request):
            recorder.event(f"{name}.request", nature, branch=branch, detail=facts(request))
            reroute(request)
            response = act(description.request, name) or await get_response(request)
            recorder.event(f"{name}.response", nature, branch=branch, detail=type(response).__name__)
            return act_on_response(description.response, name, response)

        return middleware

    def factory(get_response):
        recorder.constructed(name)
        if description.form == "function async" or (both and iscoroutinefunction(get_response)):
            return async_form(get_response)
        return sync_form(get_response)

    decorator = {
        "function sync": sync_only_middleware,
        "function async": async_only_middleware,
        "function both": sync_and_async_middleware,
    }[description.form]
    return decorator(factory)


# --- Views -----------------------------------------------------------------------------------------------------------


def make_view(description, name, recorder):
    """Make one view of the described form."""

    def inside(request):
        match description.inside:
            case "bridge":

                async def nested():
                    recorder.event(f"{name}.nested", "async")
                    await sync_to_async(back)()

                def back():
                    recorder.event(f"{name}.back", "sync")

                async_to_sync(nested)()
            case "loose bridge":

                async def nested_loose():
                    recorder.event(f"{name}.nested", "async")
                    await sync_to_async(lambda: recorder.event(f"{name}.loose", "loose"), thread_sensitive=False)()

                async_to_sync(nested_loose)()
            case "query":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    recorder.event(f"{name}.query", "sync", detail=(cursor.fetchone(), connection.in_atomic_block))
            case "on commit":
                with transaction.atomic():
                    transaction.on_commit(lambda: recorder.event(f"{name}.commit", "sync"))
                recorder.event(f"{name}.atomic left", "sync")
            case "language":
                translation.activate("de")
            case "body":
                recorder.event(f"{name}.body", "sync", detail=request.body)
            case "session" if hasattr(request, "session"):
                request.session["visits"] = request.session.get("visits", 0) + 1
                recorder.event(f"{name}.session", "sync", detail=request.session["visits"])
            case "user" if hasattr(request, "user"):
                recorder.event(f"{name}.user", "sync", detail=str(request.user))
            case _:
                touch(request)

    def touch(request):
        match description.inside:
            case "message" if hasattr(request, "_messages"):
                messages.info(request, "a message")
            case "messages" if hasattr(request, "_messages"):
                request.shown = [str(message) for message in messages.get_messages(request)]
            case "csrf":
                get_token(request)

    async def inside_async(request):
        match description.inside:
            case "bridge":

                def nested():
                    recorder.event(f"{name}.nested", "sync")
                    async_to_sync(back)()

                async def back():
                    recorder.event(f"{name}.back", "async")

                await sync_to_async(nested)()
            case "loose bridge":
                await sync_to_async(lambda: recorder.event(f"{name}.loose", "loose"), thread_sensitive=False)()
            case "query" | "on commit":
                await sync_to_async(inside)(request)
            case "language":
                translation.activate("de")
            case "body":
                recorder.event(f"{name}.body", "async", detail=request.body)
            case "session" if hasattr(request, "session"):
                await request.session.aset("visits", await request.session.aget("visits", 0) + 1)
                recorder.event(f"{name}.session", "async", detail=await request.session.aget("visits"))
            case "user" if hasattr(request, "user"):
                recorder.event(f"{name}.user", "async", detail=str(await request.auser()))
            case _:
                touch(request)

    def sync_view(request, n):
        recorder.event(name, "sync", detail=(n, request.resolver_match.view_name))
        inside(request)
        return make_response(description.result, name, recorder)

    async def async_view(request, n):
        recorder.event(name, "async", detail=(n, request.resolver_match.view_name))
        await asyncio.sleep(0)
        await inside_async(request)
        return make_response(description.result, name, recorder)

    def coroutine_view(request, n):
        recorder.event(f"{name}.made", "sync", detail=n)
        return async_view(request, n)

    class Object:
        def __call__(self, request, n):
            return sync_view(request, n)

    class AsyncObject:
        async def __call__(self, request, n):
            return await async_view(request, n)

    class SyncClass(View):
        def get(self, request, n):
            return sync_view(request, n)

        post = get

    class AsyncClass(View):
        async def get(self, request, n):
            return await async_view(request, n)

        post = get

    def marked(request, n):
        recorder.event(f"{name}.made", "async", detail=n)
        return async_view(request, n)

    forms = {
        "function": sync_view,
        "class": SyncClass.as_view(),
        "object": Object(),
        "partial": functools.partial(sync_view),
        "hidden coroutine": coroutine_view,
        "async object": AsyncObject(),
        "async function": async_view,
        "async class": AsyncClass.as_view(),
        "async partial": functools.partial(async_view),
        "marked": markcoroutinefunction(marked),
    }
    return forms[description.form]


def make_response(result, name, recorder):
    """Make the response that a view returns, or raise what it raises."""
    verb, _, argument = result.partition(" ")
    if verb == "raise":
        raise EXCEPTIONS[argument](f"{name} raises")

    class Closing(HttpResponse):
        def close(self):
            recorder.event(f"{name}.close", "finish")
            super().close()
            recorder.event(f"{name}.closed", "finish")

    class Rendered(SimpleTemplateResponse):
        @property
        def rendered_content(self):
            recorder.event(f"{name}.render", "sync")
            if argument == "raising":
                raise ValueError(f"{name} raises while rendering")
            return "rendered"

    class RenderedAsync(HttpResponse):
        async def render(self):
            recorder.event(f"{name}.render", "async")
            await asyncio.sleep(0)
            self.content = b"rendered"
            return self

    def chunks():
        try:
            for number in range(3):
                recorder.event(f"{name}.chunk {number}", "stream")
                yield f"chunk {number}"
                if argument == "raising":
                    raise ValueError(f"{name} raises while streaming")
        finally:
            recorder.event(f"{name}.iterator left", "stream")

    async def async_chunks():
        try:
            for number in range(3):
                recorder.event(f"{name}.chunk {number}", "async")
                yield f"chunk {number}"
                await asyncio.sleep(0)
                if argument == "stream raising":
                    raise ValueError(f"{name} raises while streaming")
        finally:
            recorder.event(f"{name}.iterator left", "async")

    class File:
        # Not a child of BytesIO: that would be closed by the collector, at any time.
        def __init__(self, content):
            self.read = io.BytesIO(content).read

        def close(self):
            recorder.event(f"{name}.file closed", "stream")

    recorder.served.streams = "stream" in result or result == "file"
    match result:
        case "none":
            return None
        case "large":
            return HttpResponse(b"x" * (2**16 + 1))
        case "cookie":
            response = HttpResponse("cookie", headers={"X-Case": "kept"})
            response.set_cookie("a", "b", httponly=True)
            return response
        case "own close":
            return Closing("closing")
        case "template" | "template raising":
            response = Rendered("none.html")
            response.add_post_render_callback(lambda response: recorder.event(f"{name}.post render", "sync"))
            return response
        case "async render":
            return RenderedAsync("not rendered")
        case "stream" | "stream raising":
            return StreamingHttpResponse(chunks())
        case "async stream" | "async stream raising":
            return StreamingHttpResponse(async_chunks())
        case "file":
            return FileResponse(File(b"y" * (2**16 + 1)), filename="file.txt")
        case _:
            return HttpResponse(result, status=201)


def make_session_store(recorder):
    """A session engine that writes down where it reads and writes."""

    class SessionStore(cache.SessionStore):
        def load(self):
            recorder.event("session load", "sync")
            return super().load()

        async def aload(self):
            recorder.event("session load", "async")
            return await super().aload()

        def save(self, must_create=False):
            if not must_create:
                recorder.event("session save", "sync")
            return super().save(must_create=must_create)

    return SessionStore


# --- The whole site --------------------------------------------------------------------------------------------------

_numbers = itertools.count()


@dataclass
class Site:
    """What the description became: a module for MIDDLEWARE and two for the URLconf, and receivers to connect."""

    case: Case
    recorder: Recorder
    module: types.ModuleType = field(init=False)

    def __post_init__(self):
        case, recorder = self.case, self.recorder
        self.module = self._module("site")
        # Names are the same for both handlers, so that what is compared doesn't name the run.
        views = [make_view(kind, f"view{number}", recorder) for number, kind in enumerate(case.views)]
        self.sessions = self._module("sessions")
        self.sessions.SessionStore = make_session_store(recorder)
        self.urls = self._urlconf("urls", views)
        self.other_urls = self._urlconf("other_urls", views[::-1])
        described = []
        for number, description in enumerate(case.middleware):
            name = f"m{number}"
            setattr(self.module, name, make_middleware(description, name, recorder, self._rerouter(description)))
            described.append(f"{self.module.__name__}.{name}")
        self.middleware = list(described)
        if case.django_middleware:
            rest = iter(described)
            self.middleware = [path or next(rest, None) for path in DJANGO_MIDDLEWARE]
            self.middleware = [path for path in self.middleware if path]

    def _module(self, name):
        module = types.ModuleType(f"generated_{next(_numbers)}.{name}")
        sys.modules[module.__name__] = module
        return module

    def _urlconf(self, name, views):
        module = self._module(name)
        module.urlpatterns = [
            path(f"v{number}/<int:n>/", view, name=f"name{number}") for number, view in enumerate(views)
        ]
        if self.case.error_views:

            def error_view(request, exception=None):
                self.recorder.event("error view", "loose", detail=repr(exception))
                return HttpResponse("error view", status=500 if exception is None else 404)

            module.handler404 = module.handler500 = error_view
        return module

    def _rerouter(self, description):
        def reroute(request):
            if description.reroute == "path":
                request.path_info = request.path_info.replace("/v0/", "/v2/").replace("/v1/", "/v0/")
                request.path_info = request.path_info.replace("/v2/", "/v1/")
            elif description.reroute == "urlconf":
                request.urlconf = self.other_urls.__name__

        return reroute

    def receivers(self):
        """Yield (signal, receiver) for what the description connects."""
        recorder = self.recorder

        def make(name, mode, nature, detail):
            def receive(sender, **kwargs):
                recorder.event(f"{name} sync", nature, detail=detail(sender, kwargs))
                if mode == "raise":
                    raise ValueError(f"a receiver of {name} raises")

            async def receive_async(sender, **kwargs):
                recorder.event(f"{name} async", "async", detail=detail(sender, kwargs))

            if mode in {"sync", "both", "raise"}:
                yield receive
            if mode in {"async", "both"}:
                yield receive_async

        def of_handler(sender, kwargs):
            return (
                issubclass(sender, ASGIHandler),
                sorted(set(kwargs) - {"signal"}),
                kwargs.get("scope", {}).get("path"),
            )

        def of_exception(sender, kwargs):
            return sender, kwargs["request"].path, getattr(sys.exc_info()[0], "__name__", None)

        for receiver in make("request_started", self.case.started, "sync", of_handler):
            yield signals.request_started, receiver
        for receiver in make("request_finished", self.case.finished, "finish", of_handler):
            yield signals.request_finished, receiver
        for receiver in make("got_request_exception", self.case.got_exception, "loose", of_exception):
            yield signals.got_request_exception, receiver

    def close(self):
        for module in (self.module, self.sessions, self.urls, self.other_urls):
            del sys.modules[module.__name__]


class LogHandler(logging.Handler):
    """Writes each log record down as an event."""

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder

    def emit(self, record):
        exception = record.exc_info and repr(record.exc_info[1])
        detail = (record.name, record.levelname, record.getMessage(), getattr(record, "status_code", None), exception)
        self.recorder.event("log", "loose", detail=detail, leaves_trail=False)
