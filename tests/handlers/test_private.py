"""The private names of Django and asgiref still do what the handler counts on. A failure names what has changed."""

import ast
import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import io
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.local import Local
from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.conf import LazySettings, settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.backends.db import SessionStore
from django.core import signals
from django.core.cache import caches
from django.core.files.base import ContentFile, File
from django.core.handlers.asgi import ASGIHandler as DjangosHandler
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import close_old_connections, connection, connections
from django.dispatch import Signal
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import ResponseHeaders
from django.test import override_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import LazyObject

from django_asgi_deploy.handlers import chains, private, rules
from django_asgi_deploy.handlers.affinity import Dispatcher
from django_asgi_deploy.handlers.asgi import ASGIHandler
from django_asgi_deploy.handlers.views import Views
from tests.handlers.client import get, run, site

variable = contextvars.ContextVar("variable", default="unset")


def request_for(scope=None):
    return ASGIRequest({"type": "http", "method": "GET", "path": "/", "headers": [], **(scope or {})}, io.BytesIO())


def test_every_name_is_there():
    assert private.missing == []
    assert private.available


def test_without_a_name_every_request_takes_djangos_path(monkeypatch):
    monkeypatch.setattr(private, "available", False)
    monkeypatch.setattr(private, "missing", ["asgiref.sync.something"])

    async def main():
        assert not (await get(handler, "/")).text.startswith("django-")
        assert "asgiref.sync.something" in handler.fallback_reasons[0]
        assert handler.stats().threads == 0

    from django.urls import path

    with site([path("", lambda request: HttpResponse(threading.current_thread().name))]):
        handler = ASGIHandler()
        run(main, handler)


# asgiref


def test_restore_context_copies_variables_and_makes_locals_the_threads_own():
    local = Local()
    context = contextvars.copy_context()
    context.run(variable.set, "set elsewhere")
    context.run(setattr, local, "value", 1)

    def in_another_thread():
        def inside():
            private.restore_context(context)
            return local.value

        return context.run(inside)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_another_thread).result() == 1
    contextvars.copy_context().run(lambda: (private.restore_context(context), check()))


def check():
    assert variable.get() == "set elsewhere"


def test_asgiref_asks_our_executor_for_whoever_has_the_key():
    """SyncToAsync.thread_sensitive_context and .context_to_thread_executor; an asyncio future is passed on as it is."""
    assert isinstance(private.context_to_thread_executor[private.KEY], Dispatcher)
    seen = []

    class Executor(ThreadPoolExecutor):
        def submit(self, call, /, *args, **kwargs):
            seen.append((call, args, kwargs))
            future = asyncio.get_running_loop().create_future()
            future.set_result("ours")
            return future

    async def main():
        key = ThreadSensitiveContext()
        private.context_to_thread_executor[key] = Executor()
        token = private.thread_sensitive_context.set(key)
        assert not private.is_unused(key)
        assert private.is_unused(ThreadSensitiveContext())
        assert await sync_to_async(lambda: "asgiref's")() == "ours"
        private.thread_sensitive_context.reset(token)

    asyncio.run(main())
    ((call, args, kwargs),) = seen
    assert (args, kwargs) == ((), {})
    assert private.without_bridge(call)() == "asgiref's"  # a partial: loop, exc_info, task_context, func, child


def test_a_call_without_its_bridge_leaves_the_threads_loop_alone():
    calls = []

    class Executor(ThreadPoolExecutor):
        def submit(self, call, /, *args, **kwargs):
            calls.append(call)
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
            return future

    async def main():
        key = ThreadSensitiveContext()
        private.context_to_thread_executor[key] = Executor()
        private.thread_sensitive_context.set(key)
        await sync_to_async(lambda: SyncToAsync.threadlocal.main_event_loop)()

    contextvars.copy_context().run(asyncio.run, main())
    with ThreadPoolExecutor(1) as pool:

        def in_thread():
            SyncToAsync.threadlocal.main_event_loop = "the server's"
            return private.without_bridge(calls[0])()

        assert pool.submit(in_thread).result() == "the server's"


def test_run_in_thread_gives_async_to_sync_its_loop_and_its_tasks():
    """SyncToAsync.thread_handler, with the thread-local it sets and the list of tasks."""

    async def inner():
        return asyncio.get_running_loop(), list(tasks), asyncio.current_task()

    async def main():
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        context.run(variable.set, "in the context")
        call = lambda: (async_to_sync(inner)(), variable.get())  # noqa: E731
        found, value = await loop.run_in_executor(
            None, private.run_in_thread, loop, (None, None, None), tasks, context, call
        )
        assert found == (loop, [found[2]], found[2])
        assert value == "in the context"
        assert tasks == []

    tasks = []
    asyncio.run(main())


def test_a_thread_that_waits_in_async_to_sync_is_noticed():
    """AsyncToSync.executors is a Local made of one context variable."""

    async def inside():
        return private.has_parent_thread()

    assert isinstance(private._executors_storage, contextvars.ContextVar)
    assert not private.has_parent_thread()
    assert not asyncio.run(inside())
    assert async_to_sync(inside)()
    assert not private.has_parent_thread()
    assert getattr(AsyncToSync.executors, "current", None) is None


# Django's handlers


def test_a_patched_call_is_noticed(monkeypatch):
    async def patched(self, scope, receive, send):
        pass

    assert not private.is_patched()
    monkeypatch.setattr(DjangosHandler, "__call__", patched)
    assert private.is_patched()


def test_overridden_methods_are_named():
    class Own(ASGIHandler):
        def make_view_atomic(self, view):
            return super().make_view_atomic(view)

    assert private.overridden(ASGIHandler, ASGIHandler) == []
    assert private.overridden(Own, ASGIHandler) == ["make_view_atomic"]


class Noted(MiddlewareMixin):
    def process_request(self, request):
        request.noted = [*getattr(request, "noted", ()), "request"]

    def process_response(self, request, response):
        response["X-Noted"] = ",".join(request.noted)
        return response


def test_convert_exception_to_response_and_adapt_method_mode_lead_to_the_middleware():
    """Its __wrapped__, load_middleware() calling adapt_method_mode() with it, and what it is given as get_response."""

    class Handler(BaseHandler):
        def adapt_method_mode(self, is_async, method, method_is_async=None, debug=False, name=None):
            if is_async and method_is_async:
                seen.append(method.__wrapped__)
            return super().adapt_method_mode(is_async, method, method_is_async, debug, name)

    seen = []
    with site([], [f"{__name__}.Noted"]):
        handler = Handler()
        handler.load_middleware(is_async=True)
    innermost, outermost = seen
    assert innermost.__name__ == "_get_response_async"
    assert type(outermost) is Noted
    assert outermost.async_mode
    assert outermost.get_response.__wrapped__ == handler._get_response_async


def test_the_synchronous_handler_has_the_attributes_that_get_response_uses():
    with site([], [f"{__name__}.Noted"]):
        own, shared = chains.SyncHandler(lambda request, resolve: resolve(request), Views()), ASGIHandler()
        own.load_middleware(is_async=False)
        request = request_for()
        assert own.get_response(request)["X-Noted"] == "request"
        assert vars(own).keys() == vars(shared._sync_handler).keys()
        assert shared._sync_handler.get_response(request_for())["X-Noted"] == "request"


def test_response_for_exception_makes_a_response_of_the_current_exception():
    with site([]):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            response = private.response_for_exception(request_for(), error)
    assert response.status_code == 500


# Django's signals


def test_only_djangos_own_receivers_are_connected_and_any_other_is_noticed():
    """Signal.receivers, and Signal._live_receivers()."""
    assert private.only_known_at_start()
    assert private.only_known_at_end()

    def receiver(**kwargs):
        pass

    async def areceiver(**kwargs):
        pass

    class Sender:
        pass

    for signal, known in (
        (signals.request_started, private.only_known_at_start),
        (signals.request_finished, private.only_known_at_end),
    ):
        for other in (receiver, areceiver):
            signal.connect(other)
            assert not known()
            assert private.has_async_receivers(signal, None) == (other is areceiver)
            signal.disconnect(other)
            assert known()
        signal.connect(receiver, sender=Sender)
        assert not known()
        signal.disconnect(receiver, sender=Sender)
        assert known()
        signal.disconnect(close_old_connections)  # as django.test.client does
        assert not known()
        signal.connect(close_old_connections)
        assert known()


def test_somebody_who_watches_receivers_being_called_is_noticed(monkeypatch):
    known = private.KnownReceivers(signals.request_started, private._KNOWN_AT_START)
    original = Signal._live_receivers
    monkeypatch.setattr(Signal, "_live_receivers", lambda self, sender: original(self, sender))
    assert not known()


def test_the_urlconf_is_forgotten():
    """Twice, because the second time is the short way; and a context that has it from elsewhere keeps it."""
    outside = contextvars.copy_context()
    outside.run(set_urlconf, "outer.urls")
    for _ in range(2):
        set_urlconf("some.urls")
        private.forget_urlconf()
        assert get_urlconf() is None
    assert private.forget_urlconf.empty is not None
    assert outside.run(get_urlconf) == "outer.urls"


def test_the_script_prefix_is_set_if_it_is_another_one():
    def prefixes():
        for prefix in ("", "/", "/a", "/a/", "/b/", ""):
            private.set_script_prefix(prefix)
            yield get_script_prefix()

    assert contextvars.copy_context().run(list, prefixes()) == ["/", "/", "/a/", "/a/", "/b/", "/"]


def test_a_script_prefix_that_was_never_set_is_a_context_variable_without_a_value():
    def at_the_root():
        private.set_script_prefix("")
        assert private._prefixes_storage.get(None) is None
        set_script_prefix("/a/")
        assert private._prefixes_storage.get(None) is not None

    assert isinstance(private._prefixes_storage, contextvars.ContextVar)
    contextvars.Context().run(at_the_root)


@pytest.mark.parametrize("module", private._QUERIES, ids=lambda module: module.__name__)
def test_the_orm_uses_sync_to_async_in_one_way_only(module):
    """``await sync_to_async(call)(...)``; shorten_queries() has replaced it by now, or would."""
    tree = ast.parse(inspect.getsource(module))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "sync_to_async"]
    awaited = [
        node.value.func.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Call)
        and len(node.value.func.args) == 1
        and not node.value.func.keywords
    ]
    assert used
    assert all(node in awaited for node in used)


def test_the_orms_sync_to_async_is_replaced_where_it_is_asgirefs(monkeypatch):
    async def way(call, *args):
        return call, args

    somebodys = object()
    first, second, third = private._QUERIES
    for module, value in ((first, sync_to_async), (second, sync_to_async), (third, somebodys)):
        monkeypatch.setattr(module, "sync_to_async", value)
    private.shorten_queries(way)
    assert asyncio.run(first.sync_to_async(repr)(1)) == asyncio.run(second.sync_to_async(repr)(1)) == (repr, (1,))
    assert isinstance(first.sync_to_async(repr, thread_sensitive=False), SyncToAsync)
    assert isinstance(first.sync_to_async(thread_sensitive=False)(repr), SyncToAsync)
    assert third.sync_to_async is somebodys


def test_a_method_is_known_to_be_synchronous_when_asgiref_takes_it(monkeypatch):
    class Things:
        def synchronous(self):
            pass

        async def asynchronous(self):
            pass

    things = Things()
    for _ in range(2):
        assert private.is_known_to_be_synchronous(things.synchronous)
        with pytest.raises(TypeError, match="can only be applied to sync functions"):
            private.is_known_to_be_synchronous(things.asynchronous)
    for call in (repr, [].append, lambda: None, functools.partial(things.synchronous)):
        assert not private.is_known_to_be_synchronous(call)
    monkeypatch.setattr(SyncToAsync, "__init__", lambda self, *args, **kwargs: None)
    assert not private.is_known_to_be_synchronous(things.synchronous)


def test_a_thread_finds_its_own_open_connections():
    """asgiref's thread-critical Local in a thread without an event loop, for begin_request() and end_request()."""
    assert isinstance(connections._connections._storage, threading.local)

    def in_thread():
        before = private.open_connections()
        mine = connections["default"]
        found = private.open_connections()
        assert found == connections.all(initialized_only=True)
        mine.queries_log.append({"sql": "SELECT 1"})
        mine.close_at, mine.connection = 0, Obsolete()
        private.begin_request()
        assert not mine.queries_log
        assert mine.connection is None
        mine.close_at, mine.connection = 0, Obsolete()
        private.end_request()
        assert mine.connection is None
        return before, found, mine

    with ThreadPoolExecutor(1) as executor:
        before, found, mine = executor.submit(in_thread).result()
    assert before == []
    assert found == [mine]


class Obsolete:
    """A database connection past its CONN_MAX_AGE."""

    def close(self):
        pass


def test_caches_that_have_something_to_close_are_noticed():
    assert isinstance(private.caches_storage(), contextvars.ContextVar)
    assert private.caches_need_no_close()

    class Closing:
        def close(self, **kwargs):
            pass

    caches["default"]
    assert private.caches_need_no_close()
    saved = caches["default"]
    caches["default"] = Closing()
    assert not private.caches_need_no_close()
    caches["default"] = saved
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}):
        assert private.caches_need_no_close()
        caches["default"] = Closing()
        assert not private.caches_need_no_close()


def test_a_transaction_is_noticed():
    """BaseDatabaseWrapper.in_atomic_block and .autocommit."""
    from django.db import transaction

    connection.ensure_connection()
    assert not private.in_transaction()
    with transaction.atomic():
        assert private.in_transaction()
    transaction.set_autocommit(False)
    assert private.in_transaction()
    transaction.set_autocommit(True)
    assert not private.in_transaction()
    private.close_connections()
    assert connection.connection is None
    assert not private.in_transaction()


# Django's settings


def read(settings, name):
    try:
        value = getattr(settings, name)
    except AttributeError as error:
        return type(error)
    return value if not inspect.ismethod(value) else (value.__func__, value.__self__)


def own_reading():
    return LazySettings.__dict__.get("__getattribute__")


@pytest.fixture
def djangos_reading():
    before = own_reading()
    if before is not None:
        del LazySettings.__getattribute__
    yield
    if own_reading() is not None:
        del LazySettings.__getattribute__
    if before is not None:
        LazySettings.__getattribute__ = before


def test_settings_that_are_read_at_once_are_the_same_settings(djangos_reading):
    """LazyObject.__getattribute__(): every name, before and after, with and without override_settings()."""
    assert LazySettings.__getattribute__ is LazyObject.__getattribute__

    def look():
        names = {"NO_SUCH_SETTING", "_wrapped", "__dict__", "configured", *dir(settings)}
        plain = {name for name in names if not name.startswith(("__", "EMAIL_")) or name == "__dict__"}
        with override_settings(DEBUG="other", NEW=1):
            seen = {"changed": (settings.DEBUG, settings.NEW, settings.is_overridden("NEW"))}
            settings.DEBUG = "set"
            seen["set"] = settings.DEBUG
            del settings.NEW
            seen["deleted"] = read(settings, "NEW")
        seen["after"] = read(settings, "NEW"), settings.DEBUG
        seen["whole"] = repr(settings), isinstance(settings, LazySettings), hash(settings), bool(settings)
        seen["names"] = sorted(dir(settings)), sorted(settings.__dir__())
        seen["wrapped"] = settings.__class__, copy.copy(settings).DEBUG, settings == settings._wrapped
        return seen | {name: read(settings, name) for name in plain}

    look()  # the first time some are loaded
    before = look()
    private.read_settings_at_once()
    assert own_reading() is object.__getattribute__
    assert look() == before


def test_settings_are_left_alone_where_somebody_reads_them_in_a_way_of_his_own(djangos_reading, monkeypatch):
    def own(self, name):
        return object.__getattribute__(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(LazyObject, "__getattribute__", own)
        private.read_settings_at_once()
        assert own_reading() is None
    LazySettings.__getattribute__ = own
    private.read_settings_at_once()
    assert own_reading() is own


# Django's requests and responses


class Unusual(HttpResponse):
    def items(self):
        yield "X-Own", "one"


class Heading(ResponseHeaders):
    pass


def with_cookie():
    response = HttpResponse()
    response.set_cookie("a", "b")
    return response


def with_own_headers():
    response = HttpResponse()
    response.headers = Heading({"X-Own": "one"})
    return response


def events_of_djangos_handler(response):
    events = []

    async def send(event):
        events.append(event)

    asyncio.run(DjangosHandler.send_response(ASGIHandler.__new__(ASGIHandler), response, send))
    return events


def test_the_start_of_a_response_is_what_djangos_handler_sends():
    """ResponseHeaders._store."""
    response = HttpResponse("page", status=203, headers={"x-mIxed": "Case", "X-Latin": "caf\xe9"})
    response["Content-Length"] = 4
    assert private.has_plain_headers(response)
    assert private.response_start(response) == events_of_djangos_handler(response)[0]


@pytest.mark.parametrize("response", [Unusual, with_cookie, with_own_headers, object])
def test_a_response_that_says_its_headers_in_another_way_is_left_to_django(response):
    with site([]):
        assert not private.has_plain_headers(response())


def test_whoever_replaces_djangos_send_response_is_called(monkeypatch):
    with site([]):
        assert private.has_plain_headers(HttpResponse())
        monkeypatch.setattr(DjangosHandler, "send_response", lambda *args: None)
        assert not private.has_plain_headers(HttpResponse())


def test_a_response_whose_end_nobody_can_see_is_told_from_one_with_more_to_do():
    """HttpResponse._resource_closers, as get_response() leaves it, and HttpRequest._files."""

    class Closing(HttpResponse):
        def close(self):
            super().close()

    def answer(response=None):
        request = request_for()
        response = response or HttpResponse()
        response._resource_closers.append(request.close)
        return response, request

    assert private.finish_response_is_invisible(*answer())
    assert not private.finish_response_is_invisible(*answer(Closing()))
    response, request = answer()
    response._resource_closers.append(print)
    assert not private.finish_response_is_invisible(response, request)
    response, request = answer()
    request._files = {}
    assert not private.finish_response_is_invisible(response, request)
    response, request = answer()
    response.close = lambda: None
    assert not private.finish_response_is_invisible(response, request)


def test_a_response_closed_quietly_is_closed():
    response, called = HttpResponse(), []
    response._resource_closers += [lambda: called.append(1), lambda: 1 / 0, lambda: called.append(2)]
    private.close_response_quietly(response, run_closers=True)
    assert called == [1, 2]
    assert response.closed
    assert response._resource_closers == []


def test_streams_are_told_apart():
    class OwnWay(StreamingHttpResponse):
        def __aiter__(self):
            return super().__aiter__()

    async def agen():
        yield b""

    assert private.is_sync_stream(StreamingHttpResponse([b""]))
    assert not private.is_sync_stream(OwnWay([b""]))
    assert not private.is_sync_stream(StreamingHttpResponse(agen()))


def test_files_that_any_thread_can_read_are_told_from_others(tmp_path):
    """FileResponse.file_to_stream, and django.core.files.File.file."""

    class Remote(File):
        pass

    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert private.is_plain_file(FileResponse(file))
        assert private.is_plain_file(FileResponse(File(file)))
        assert not private.is_plain_file(FileResponse(Remote(file)))
        compressed = FileResponse(file)
        compressed.streaming_content = iter([b"gz"])
        assert not private.is_plain_file(compressed)
    assert private.is_plain_file(FileResponse(io.BytesIO(b"content")))
    assert private.is_plain_file(FileResponse(ContentFile(b"content")))
    assert not private.is_plain_file(StreamingHttpResponse([b""]))


def test_the_content_of_djangos_responses_is_plain():
    class Own(HttpResponse):
        @property
        def content(self):
            raise AssertionError("is not to be read")

        @content.setter
        def content(self, value):
            pass

    assert private.has_plain_content(HttpResponse())
    assert private.has_plain_content(StreamingHttpResponse())
    assert not private.has_plain_content(Own())


@pytest.mark.parametrize("path", sorted(rules.RULES))
def test_middleware_known_to_need_no_thread_is_still_what_it_was(path):
    """Exact class and hooks of its own module; a new hook here has to be looked at."""
    from django.utils.module_loading import import_string

    with site([]):
        try:
            middleware = import_string(path)
        except ModuleNotFoundError:
            pytest.skip("not in this Django")

    async def get_response(request):
        pass

    with site([]):
        instance = middleware(get_response)
    assert rules.rule_for(instance) is rules.RULES[path]
    assert chains.is_classic(instance)
    assert {name for name in rules.HOOKS if hasattr(instance, name)} <= {
        "process_request",
        "process_response",
        "process_view",
    }

    class Subclass(middleware):
        pass

    with site([]):
        assert rules.rule_for(Subclass(get_response)) is rules.THREAD


def request_with_user_and_messages():
    request = request_for()
    request.session = SessionStore()
    AuthenticationMiddleware(lambda request: None).process_request(request)
    MessageMiddleware(lambda request: None).process_request(request)
    return request


def parted(request_of: list) -> None:
    """As the handler does: the caller's is the last reference."""
    request = request_of.pop()
    private.part_with(request)


@pytest.fixture
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_request_that_nobody_keeps_is_freed_without_the_collector(without_collector):
    requests = [request_with_user_and_messages()]
    freed = weakref.ref(requests[0])
    parted(requests)
    assert freed() is None


@pytest.mark.parametrize("keep", ["request", "user", "auser", "_messages"])
def test_whoever_keeps_the_request_or_a_part_of_it_finds_all_as_it_was(without_collector, keep):
    requests = [request_with_user_and_messages()]
    kept = requests[0] if keep == "request" else requests[0].__dict__[keep]
    request = weakref.ref(requests[0])
    parted(requests)
    assert {"user", "auser", "_messages"} <= set(request().__dict__)
    del kept


def test_a_user_that_was_asked_for_is_no_reason_to_keep_the_request(without_collector):
    requests = [request_with_user_and_messages()]
    assert not requests[0].user.is_authenticated
    freed = weakref.ref(requests[0])
    parted(requests)
    assert freed() is None
