"""
Every private or undocumented name of Django and asgiref that the handler touches.

Each is driven by a contract test in tests/handlers/test_private.py. Where one is missing, ``available`` is False, and
every request takes Django's own path. Level 1: it imports nothing of ours. Over 400 lines, because such names have one
place, where whoever updates Django or asgiref looks for them.
"""

import functools
import inspect
import io
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, ContextVar
from sys import getrefcount
from types import FunctionType, MethodType
from typing import Any

import asgiref.sync
from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.conf import LazySettings
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core import signals
from django.core.cache import BaseCache, caches
from django.core.cache import close_caches as django_close_caches
from django.core.files.base import ContentFile, File
from django.core.handlers import asgi, base, exception
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, connections, reset_queries
from django.db.models import base as models_base
from django.db.models import query
from django.db.models.fields import related_descriptors
from django.dispatch import Signal
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.template.response import SimpleTemplateResponse
from django.urls import base as urls_base
from django.urls.resolvers import RegexPattern, RoutePattern
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import LazyObject, SimpleLazyObject

missing: list[str] = []


def _name(owner: Any, name: str, like: Callable[[Any], bool] = lambda value: True) -> Any:
    """owner.name; if it isn't there, or isn't what it was, it is noted as missing."""
    value = getattr(owner, name, None)
    if value is None or not like(value):
        missing.append(f"{getattr(owner, '__module__', '')}.{getattr(owner, '__qualname__', owner)}.{name}")
    return value


def _takes(*parameters: str) -> Callable[[Any], bool]:
    return lambda value: callable(value) and tuple(inspect.signature(value).parameters)[: len(parameters)] == parameters


def _is_context_variable(value: Any) -> bool:
    return isinstance(value, ContextVar)


# asgiref: the way of synchronous code to its thread, and back

restore_context: Callable[[Context], None] = _name(asgiref.sync, "_restore_context", _takes("context"))
thread_sensitive_context: ContextVar[Any] = _name(SyncToAsync, "thread_sensitive_context", _is_context_variable)
context_to_thread_executor: Any = _name(SyncToAsync, "context_to_thread_executor", lambda d: hasattr(d, "__setitem__"))
_name(SyncToAsync, "thread_handler", _takes("self", "loop", "exc_info", "task_context", "func"))
_name(SyncToAsync, "threadlocal", lambda value: isinstance(value, threading.local))

# AsyncToSync.executors is a Local; looking for its attribute in vain costs 3.5 microseconds, looking at the context
# variable that it is made of 0.1.
_executors_storage = getattr(getattr(getattr(AsyncToSync, "executors", None), "_storage", None), "_data", None)
if not isinstance(_executors_storage, ContextVar):
    _executors_storage = None
    _name(AsyncToSync, "executors")


def has_parent_thread() -> bool:
    """Whether a synchronous thread waits above us, in async_to_sync(), to run our thread-sensitive code."""
    if _executors_storage is not None and _executors_storage.get(None) is None:
        return False
    return bool(getattr(AsyncToSync.executors, "current", None))


# One context for the process, never entered and never left, so that tasks which outlive their request keep a way to a
# thread. asgiref looks up its executor once per thread-sensitive call.
KEY = ThreadSensitiveContext()

_bridge: Any = SyncToAsync(lambda: None)


def send_thread_sensitive_code_to(executor: Executor) -> None:
    """From now on ``executor`` gets the thread-sensitive calls of whoever has KEY in thread_sensitive_context."""
    context_to_thread_executor[KEY] = executor


def is_unused(context: Any) -> bool:
    """Whether no thread belongs to this ThreadSensitiveContext yet."""
    return context not in context_to_thread_executor


def run_in_thread(loop: Any, exc_info: Any, task_context: list[Any], context: Context, call: Callable[[], Any]) -> Any:
    """
    For the thread: ``call`` in ``context``, so that async_to_sync() in it finds ``loop``.

    The tasks that async_to_sync() starts for it are in ``task_context`` while they run.
    """
    return _bridge.thread_handler(loop, exc_info, task_context, context.run, _run_here, context, call)


def _run_here(context: Context, call: Callable[[], Any]) -> Any:
    restore_context(context)  # asgiref's Locals in it become this thread's
    return call()


def without_bridge(call: Callable[[], Any]) -> Callable[[], Any]:
    """
    What a call from SyncToAsync does, less the change of the thread's event loop.

    For a call that can run in its caller's thread at once: inside it, async_to_sync() must not wait for the very loop
    that it keeps waiting.
    """
    if isinstance(call, functools.partial) and getattr(call.func, "__name__", "") == "thread_handler":
        _, _, _, func, *args = call.args
        return functools.partial(func, *args)
    return call


# Django: asynchronous queries

_QUERIES: tuple[Any, ...] = (models_base, query, related_descriptors)
_SYNC_TO_ASYNC = (SyncToAsync.__init__, SyncToAsync.__call__)
_synchronous: "weakref.WeakSet[FunctionType]" = weakref.WeakSet()


def shorten_queries(way: Callable[..., Any]) -> None:
    """
    Let ``await way(call, *args, **kwargs)`` stand for ``await sync_to_async(call)(*args, **kwargs)`` in Django's ORM.

    To make a SyncToAsync of a method, and to find the thread by it, is a good part of what the way there costs.
    """

    def sync_to_async(call: Any = None, **options: Any) -> Any:
        if call is None or options:
            return asgiref.sync.sync_to_async(call, **options)
        return functools.partial(way, call)

    for module in _QUERIES:
        if getattr(module, "sync_to_async", None) is asgiref.sync.sync_to_async:
            module.sync_to_async = sync_to_async


def is_known_to_be_synchronous(call: Any) -> bool:
    """
    Whether ``call`` is a method that SyncToAsync takes, and SyncToAsync does what it always did.

    Raises TypeError, as SyncToAsync does, for a coroutine function.
    """
    if type(call) is not MethodType or type(call.__func__) is not FunctionType:
        return False
    if (SyncToAsync.__init__, SyncToAsync.__call__) != _SYNC_TO_ASYNC:
        return False
    if call.__func__ not in _synchronous:
        SyncToAsync(call)
        _synchronous.add(call.__func__)
    return True


# Django: handlers

convert_exception_to_response = _name(exception, "convert_exception_to_response", _takes("get_response"))
response_for_exception = _name(exception, "response_for_exception", _takes("request", "exc"))
iscoroutinefunction: Callable[[Any], bool] = _name(base, "iscoroutinefunction")
get_script_prefix: Callable[[Any], str] = _name(asgi, "get_script_prefix", _takes("scope"))
# Called with its one argument by name, so that one which somebody (Sentry does) has put in its place will do.
_name(asgi.ASGIHandler, "load_middleware", callable)
for _method, _parameters in {
    "adapt_method_mode": ("self", "is_async", "method", "method_is_async", "debug", "name"),
    "get_response": ("self", "request"),
    "get_response_async": ("self", "request"),
    "_get_response": ("self", "request"),
    "_get_response_async": ("self", "request"),
    "resolve_request": ("self", "request"),
    "handle": ("self", "scope", "receive", "send"),
    "run_get_response": ("self", "request"),
    "read_body": ("self", "receive"),
    "create_request": ("self", "scope", "body_file"),
    "send_response": ("self", "response", "send"),
    "listen_for_disconnect": ("self", "receive"),
    "chunk_bytes": ("data",),
}.items():
    _name(asgi.ASGIHandler, _method, _takes(*_parameters))


def middleware_chain(handler: Any) -> Any:
    return handler._middleware_chain


def replace_view_hooks(handler: Any, join: Callable[[list[Any]], Any]) -> None:
    """All process_view() hooks of the handler by one."""
    if handler._view_middleware:
        handler._view_middleware = [join(handler._view_middleware).__call__]


def set_chain(handler: Any, chain: Any, middleware: list[Any]) -> None:
    """What load_middleware() does at its end, for middleware that exists already, outermost first."""
    inside_out = middleware[::-1]
    handler._view_middleware = [m.process_view for m in middleware if hasattr(m, "process_view")]
    handler._template_response_middleware = [
        m.process_template_response for m in inside_out if hasattr(m, "process_template_response")
    ]
    handler._exception_middleware = [m.process_exception for m in inside_out if hasattr(m, "process_exception")]
    handler._middleware_chain = chain


def djangos_get_response(handler: Any) -> Any:
    """The innermost part of a synchronous chain."""
    return handler._get_response


# A method that a subclass overrides is there to be called: then the request takes Django's own path, which calls it.
_LED_BY_US = (
    *(
        "get_response",
        "get_response_async",
        "_get_response",
        "_get_response_async",
        "run_get_response",
        "send_response",
    ),
    *("check_response", "make_view_atomic", "process_exception_by_middleware", "listen_for_disconnect"),
)


def overridden(handler_class: type, ours: type) -> list[str]:
    """The methods that a subclass of our handler has of its own and that our path would pass by."""
    names = (*_LED_BY_US, "load_middleware", "adapt_method_mode", "resolve_request")
    return [name for name in names if getattr(handler_class, name, None) is not getattr(ours, name, None)]


def _is_djangos(function: Any, module: Any) -> bool:
    return getattr(function, "__module__", None) == module.__name__ and getattr(function, "__wrapped__", None) is None


_HANDLER = asgi.ASGIHandler  # somebody may put another one into its place later
_HANDLERS_CALL = _HANDLER.__call__ if _is_djangos(_HANDLER.__call__, asgi) else None


def is_patched() -> bool:
    """Whether somebody (Sentry does) has put a __call__ of his own in front of Django's."""
    return _HANDLER.__call__ is not _HANDLERS_CALL


# Django: signals

_LIVE_RECEIVERS = _name(Signal, "_live_receivers", _takes("self", "sender"))
_name(signals.request_started, "receivers", lambda value: isinstance(value, list))
_KNOWN_AT_START = {reset_queries, close_old_connections}
_KNOWN_AT_END = {close_old_connections, django_close_caches, reset_urlconf}


class KnownReceivers:
    """Whether a signal's receivers are Django's own and nobody else's; quick to ask for each request."""

    def __init__(self, signal: Signal, known: set[Any]) -> None:
        self.signal: Any = signal
        self.known = known
        self.snapshot: list[Any] | None = None

    def __call__(self) -> bool:
        receivers = self.signal.receivers
        if receivers == self.snapshot:
            return True
        return self.look_closer(receivers)

    def look_closer(self, receivers: list[Any]) -> bool:
        if Signal._live_receivers is not _LIVE_RECEIVERS:
            return False  # somebody watches the receivers being called
        receivers = list(receivers)
        # The signal's own method, without its cache of senders: a receiver for one sender only makes a third list.
        synchronous, asynchronous = self.signal._live_receivers(None)
        if asynchronous or len(synchronous) != len(receivers) or set(synchronous) != self.known:
            return False
        self.snapshot = receivers
        return True


only_known_at_start = KnownReceivers(signals.request_started, _KNOWN_AT_START)
only_known_at_end = KnownReceivers(signals.request_finished, _KNOWN_AT_END)


def has_async_receivers(signal: Any, sender: Any) -> bool:
    return bool(signal._live_receivers(sender)[1])


def begin_request() -> None:
    """What Django's own receivers of request_started do in a thread."""
    for connection in open_connections():
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()


def end_request() -> None:
    """What Django's own receivers of request_finished do in a thread."""
    for connection in open_connections():
        connection.close_if_unusable_or_obsolete()


def open_connections() -> list[Any]:
    """
    The database connections that this thread, which has no event loop, has initialised.

    As with AsyncToSync.executors: to look for each by attribute is dear, and three times per request.
    """
    storage = getattr(getattr(connections, "_connections", None), "_storage", None)
    if not isinstance(storage, threading.local):
        return list(connections.all(initialized_only=True))
    kept = storage.__dict__
    return [kept[alias] for alias in connections if alias in kept] if kept else []


def caches_storage() -> Any:
    """
    The context variable that the initialised caches are in, if it is still made that way.

    As with AsyncToSync.executors: most requests have no cache, and to find that out by attribute is dear. It is looked
    up each time, because a change of CACHES, as tests make them, replaces it.
    """
    return getattr(getattr(getattr(caches, "_connections", None), "_storage", None), "_data", None)


def caches_need_no_close() -> bool:
    """Whether close_caches() would do nothing."""
    storage = caches_storage()
    if not isinstance(storage, ContextVar):
        initialized = caches.all(initialized_only=True)
    elif (kept := storage.get(None)) is None:
        return True
    else:
        initialized = kept.data.values()
    return all(getattr(type(cache), "close", None) is BaseCache.close for cache in initialized)


def close_caches() -> None:
    django_close_caches()


class _Forget:
    """
    set_urlconf(None). To look for the URLconf by attribute, and to delete it, is dear, and all that comes of it is that
    its context variable holds an empty storage; the first one serves from then on.
    """

    def __init__(self) -> None:
        self.empty: Any = None
        variable = getattr(getattr(getattr(urls_base, "_urlconfs", None), "_storage", None), "_data", None)
        self.variable: ContextVar[Any] | None = variable if isinstance(variable, ContextVar) else None

    def __call__(self) -> None:
        if self.variable is None or self.empty is None:
            urls_base.set_urlconf(None)
            if self.variable is not None:
                kept = self.variable.get(None)
                self.empty = kept if getattr(kept, "data", None) == {} else None
        else:
            self.variable.set(self.empty)


forget_urlconf = _Forget()


_prefixes_storage = getattr(getattr(getattr(urls_base, "_prefixes", None), "_storage", None), "_data", None)


def set_script_prefix(prefix: str) -> None:
    """
    Django's, where it changes anything.

    As with AsyncToSync.executors: most sites are at "/", which is what holds where nothing was set, and both to find
    that out by attribute and to set it are dear.
    """
    if not prefix.endswith("/"):
        prefix += "/"
    if prefix == "/" and isinstance(_prefixes_storage, ContextVar) and _prefixes_storage.get(None) is None:
        return
    if urls_base.get_script_prefix() != prefix:
        urls_base.set_script_prefix(prefix)


def in_transaction() -> bool:
    """Whether this thread has a transaction open that a later step may count on."""
    for connection in open_connections():
        if connection.in_atomic_block:
            return True
        if connection.connection is not None and connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
            return True
    return False


def close_connections() -> None:
    connections.close_all()


# Django: settings

_LOOK = LazyObject.__getattribute__


def read_settings_at_once() -> None:
    """
    Let ``settings.NAME`` cost what any attribute does: it is read many times in one request.

    LazyObject's own way of reading looks at each value for the mark of a LazyObject's proxy methods. A setting has
    none, and the methods of the object behind are found through __getattr__() as before.
    """
    if (
        "__getattribute__" not in LazySettings.__dict__
        and LazyObject.__getattribute__ is _LOOK
        and set(_LOOK.__code__.co_names) <= {"super", "__getattribute__", "getattr", "AttributeError"}
    ):
        LazySettings.__getattribute__ = object.__getattribute__  # type: ignore[method-assign]


# Django: URLs


def is_translated(pattern: Any) -> bool:
    """Whether a URL pattern's text depends on the language."""
    return not isinstance(getattr(pattern, "_route" if isinstance(pattern, RoutePattern) else "_regex"), str)


# Django: requests and responses

_CONTENTS = {HttpResponse.content, HttpResponseNotModified.content, SimpleTemplateResponse.content}


def finish_response_is_invisible(response: HttpResponseBase, request: HttpRequest) -> bool:
    """Whether response.close() does no more than Django's own request_finished receivers and request.close()."""
    closers = response._resource_closers  # type: ignore[attr-defined]
    return (
        type(response).close is HttpResponseBase.close
        and "close" not in response.__dict__
        and len(closers) == 1
        and closers[0] == request.close
        and type(request).close is ASGIRequest.close
        and "_files" not in request.__dict__
    )


def close_response_quietly(response: HttpResponseBase, run_closers: bool) -> None:
    """response.close() without its signal, whose receivers' work is done elsewhere."""
    closers = response._resource_closers  # type: ignore[attr-defined]
    for closer in closers if run_closers else ():
        with suppress(Exception):  # as HttpResponseBase.close() does
            closer()
    closers.clear()
    response.closed = True


def part_with(request: HttpRequest) -> None:
    """
    Take from a request that is over, and that only its caller has, what refers back to it.

    Django's middleware gives it a user and messages that know their request. Such circles wait for the collector, and
    new requests go into cold memory meanwhile. Whoever has kept the request or one of these finds all as it was.
    """
    state = request.__dict__
    messages, user, auser = state.get("_messages"), state.get("user"), state.get("auser")
    back = 0
    if messages is not None:
        if type(messages) is not FallbackStorage or getrefcount(messages) != _HELD_ONCE:
            return
        back += 1 + len(messages.storages)
    if type(user) is SimpleLazyObject:
        if getrefcount(user) != _HELD_ONCE:
            return
        back += 1
    if type(auser) is functools.partial:
        if getrefcount(auser) != _HELD_ONCE:
            return
        back += 1
    if back and getrefcount(request) == back + _HELD_ONCE:
        for name in ("_messages", "user", "auser"):
            state.pop(name, None)


_HELD_ONCE = 3  # by its owner, by a variable here, and by the call that counts


_SEND_RESPONSE = _HANDLER.send_response


def has_plain_headers(response: Any) -> bool:
    """Whether response_start() says what Django's send_response() would."""
    return (
        isinstance(response, HttpResponseBase)
        and type(response.headers) is ResponseHeaders
        and type(response).items is HttpResponseBase.items
        and "items" not in response.__dict__
        and not response.cookies
        and _HANDLER.send_response is _SEND_RESPONSE
    )


def response_start(response: HttpResponseBase) -> dict[str, Any]:
    """The event that a response begins with."""
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.headers._store.values()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def has_plain_content(response: HttpResponseBase) -> bool:
    """Whether reading response.content runs no code but Django's."""
    return response.streaming or getattr(type(response), "content", None) in _CONTENTS


def is_sync_stream(response: Any) -> bool:
    """Whether a streaming response has a synchronous iterator, and isn't iterated in a way of its own."""
    return not response.is_async and type(response).__aiter__ is StreamingHttpResponse.__aiter__


def is_plain_file(response: Any) -> bool:
    """Whether a FileResponse reads from a real file, which any thread can do."""
    if (
        type(response).__iter__ is not FileResponse.__iter__
        or type(response).streaming_content is not _STREAMING_CONTENT
    ):
        return False
    file = getattr(response, "file_to_stream", None)
    for _ in range(3):  # django.core.files.File keeps the real one in .file
        if type(file) in _FILE_TYPES:
            return True
        if type(file) not in _FILE_WRAPPERS:
            return False
        file = file.__dict__.get("file")
    return False


_FILE_TYPES = {io.BufferedReader, io.BufferedRandom, io.FileIO, io.BytesIO}
_FILE_WRAPPERS = {File, ContentFile}
_STREAMING_CONTENT = StreamingHttpResponse.streaming_content


def _sets(method: Any, attribute: str) -> None:
    """Note as missing an attribute that ``method`` doesn't set; looking at an instance would need settings."""
    if attribute not in method.__code__.co_names:
        missing.append(f"{method.__module__}.{method.__qualname__}: {attribute}")


_sets(HttpResponseBase.__init__, "_resource_closers")
_sets(HttpResponseBase.__init__, "_handler_class")
_sets(ResponseHeaders.__setitem__, "_store")
_sets(StreamingHttpResponse._set_streaming_content, "_iterator")  # type: ignore[attr-defined]
_sets(FileResponse._set_streaming_content, "file_to_stream")  # type: ignore[attr-defined]
_name(MiddlewareMixin, "__acall__", _takes("self", "request"))

_sets(RoutePattern.__init__, "_route")
_sets(RegexPattern.__init__, "_regex")

available = not missing
