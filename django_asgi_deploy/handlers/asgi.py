"""
The request handler: Django's own, with a shorter way through it.

A request whose view is synchronous runs its middleware, its view and the end of the request in one go in a thread of a
bounded pool. A request whose view is asynchronous stays on the event loop, and visits a thread for what needs one.
Whatever isn't known to be safe takes Django's own path: the methods of Django's ASGIHandler, unchanged.

Over 400 lines, because it is one class: a subclass of Django's is asked for, and its methods are the way of a request.
"""

import asyncio
import io
import logging
import math
import weakref
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi
from django.http import FileResponse

from django_asgi_deploy.handlers import affinity, chains, private
from django_asgi_deploy.handlers.affinity import RequestThread
from django_asgi_deploy.handlers.body import read_body
from django_asgi_deploy.handlers.exchange import Exchange, Label, Streamed, path_info
from django_asgi_deploy.handlers.pool import PoolClosed, PoolStats, QueueTimeout, ThreadPool
from django_asgi_deploy.handlers.views import Found, Kind, Views
from django_asgi_deploy.handlers.watch import Watcher
from django_asgi_deploy.types import OBSERVATION, Receive, Scope, Send

logger = logging.getLogger(__name__)

THREADS = 8
FILE_THREADS = 2


class ASGIHandler(asgi.ASGIHandler):
    """
    Serves HTTP; other kinds of scope raise ValueError, as in Django.

    ``threads``: how many run synchronous code at once.
    ``thread_queue_timeout_seconds``: a request that waits longer for a thread is answered with 503.
    ``thread_idle_seconds``: a thread that wasn't needed for so long ends, and its database connections with it.
    ``hung_seconds``: a call that keeps its thread for longer is named in the log.
    """

    # A subclass that doesn't call __init__(), like Django's ASGIStaticFilesHandler, is on its own.
    _leads = False

    def __init__(
        self,
        threads: int = THREADS,
        thread_queue_timeout_seconds: float | None = None,
        *,
        thread_idle_seconds: float = 60.0,
        hung_seconds: float = 60.0,
    ) -> None:
        self.pool = ThreadPool(
            threads,
            queue_timeout_seconds=thread_queue_timeout_seconds,
            idle_seconds=thread_idle_seconds,
            hung_seconds=hung_seconds,
            farewell=private.close_connections,
        )
        self.file_pool = ThreadPool(FILE_THREADS, idle_seconds=thread_idle_seconds, name="django-files")
        self.reasons: list[str] = []
        self._views = Views()
        self._watcher: Watcher | None = None
        self._watchers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watcher] = weakref.WeakKeyDictionary()
        self._leads = private.available and not private.overridden(type(self), ASGIHandler)
        self._handles = type(self).handle is ASGIHandler.handle
        self._reads_body = type(self).read_body is asgi.ASGIHandler.read_body
        self._sync_handler: chains.SyncHandler | None = None
        self._second_chain_tried = False
        if self._leads:
            private.read_settings_at_once()
            private.shorten_queries(affinity.query)
        super().__init__()
        self._explain()

    # What it tells about itself

    @property
    def threads(self) -> int:
        return self.pool.size

    @property
    def fallback_reasons(self) -> list[str]:
        """One line for each thing that makes requests take Django's own path."""
        return list(self.reasons)

    def stats(self) -> PoolStats:
        return self.pool.stats()

    def _explain(self) -> None:
        if private.missing:
            self.reasons.append(f"all requests: this Django or asgiref has no {', '.join(private.missing)}")
        for name in private.overridden(type(self), ASGIHandler):
            self.reasons.append(f"all requests: {type(self).__qualname__}.{name}() is its own")
        for path in chains.async_only(list(settings.MIDDLEWARE)):
            self.reasons.append(f"requests with synchronous views: {path} is asynchronous only")
            self._second_chain_tried = True

    # The end

    def close(self, timeout_seconds: float = 5.0) -> bool:
        """End the threads, outside of an event loop; True if none was left behind."""
        return all([self.pool.close(timeout_seconds), self.file_pool.close(timeout_seconds)])

    async def aclose(self, timeout_seconds: float = 5.0) -> bool:
        """End the threads, from the event loop they work for; True if none was left behind."""
        return all([await self.pool.aclose(timeout_seconds), await self.file_pool.aclose(timeout_seconds)])

    # The chains

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=is_async)
        if not self._leads or not is_async:
            return
        private.replace_view_hooks(self, chains.ViewHooks)
        group = chains.whole_group(private.middleware_chain(self))
        if group is not None:
            self._sync_handler = chains.SyncHandler(self._resolve, self._views)
            chains.share_middleware(group, self._sync_handler)

    def adapt_method_mode(
        self, is_async: bool, method: Any, method_is_async: bool | None = None, debug: bool = False, name: Any = None
    ) -> Any:
        if method_is_async and self._leads:
            method = chains.grouped(method)
        return super().adapt_method_mode(is_async, method, method_is_async, debug, name)

    def _load_sync_handler(self) -> chains.SyncHandler | None:
        """The chain for synchronous views, where it needs the middleware a second time."""
        self._second_chain_tried = True
        handler = chains.SyncHandler(self._resolve, self._views)
        try:
            chains.load_second_chain(handler)
        except chains.SecondChainRefused as refusal:
            self.reasons.append(f"requests with synchronous views: {refusal}")
            logger.warning("Requests with synchronous views take Django's own path: %s", refusal)
            return None
        self._sync_handler = handler
        return handler

    def resolve_request(self, request: Any) -> Any:
        return self._resolve(request, super().resolve_request)

    def _resolve(self, request: Any, resolve: Callable[[Any], Any]) -> Any:
        """The match found beforehand, if the request still asks for it and the URLconf is still the same."""
        found: Found | None = request.__dict__.pop("_django_asgi_deploy_found", None)
        if found is None or hasattr(request, "urlconf") or not self._views.holds(found, request.path_info):
            return resolve(request)
        request.resolver_match = found.match
        return found.match

    # The way of a request

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (
            scope["type"] != "http"
            or not self._leads
            or private.thread_sensitive_context.get(None) is not None
            or private.is_patched()
            or private.has_parent_thread()
        ):
            await super().__call__(scope, receive, send)  # which comes to handle(), too
        elif self._handles:
            await self._lead(scope, receive, send)  # as handle() would say
        else:
            await self.handle(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        context = private.thread_sensitive_context.get(None)
        if not self._leads or private.has_parent_thread():
            await super().handle(scope, receive, send)
        elif context is private.KEY:
            await self._follow(scope, receive, send)
        elif context is None or private.is_unused(context):
            await self._lead(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # somebody outside has a thread for us

    async def _follow(self, scope: Any, receive: Any, send: Any) -> None:
        """A request made from within another one: both use one thread, or they could wait for each other."""
        owner = affinity.current.get(None)
        if owner is None or owner.loose or owner.loop is not asyncio.get_running_loop():
            await self._lead(scope, receive, send)
            return
        owner.users += 1
        try:
            await super().handle(scope, receive, send)
        finally:
            owner.leave()

    async def _lead(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        label = Label(scope)
        try:
            if self._reads_body:
                in_thread = partial(self._in_file_pool, loop, label)
                body: Any = await read_body(receive, settings.FILE_UPLOAD_MAX_MEMORY_SIZE, in_thread)
            else:
                body = await self.read_body(receive)
        except RequestAborted:
            return
        watcher = self._watcher
        if watcher is None or watcher.loop is not loop:
            watcher = self._watcher_of(loop)
        owner = RequestThread(self.pool, loop, label)
        key_token = private.thread_sensitive_context.set(private.KEY)
        owner_token = affinity.current.set(owner)
        watch = watcher.watch(receive)
        exchange = Exchange(scope, body, owner, watch)
        try:
            await self._serve(exchange, send)
        finally:
            if type(body) is not io.BytesIO:
                self._close(body, owner)
            owner.leave()
            observation = scope.get(OBSERVATION)
            if observation is not None:
                observation.waited = owner.waited
                observation.part_with_request()
            affinity.current.reset(owner_token)
            private.thread_sensitive_context.reset(key_token)
            watch.stop()
            if exchange.request is not None and exchange.response is not None:
                exchange.part_with_request()

    def _watcher_of(self, loop: asyncio.AbstractEventLoop) -> Watcher:
        watcher = self._watchers.get(loop)
        if watcher is None:
            watcher = self._watchers[loop] = Watcher(loop, self.pool.tick)
        self._watcher = watcher
        return watcher

    def _close(self, body: Any, owner: RequestThread) -> None:
        """Removing a large file takes its time, which nobody needs to wait for."""
        try:
            self.file_pool.submit(body.close, owner.loop, owner.label)
        except PoolClosed:
            body.close()

    async def _serve(self, exchange: Exchange, send: Send) -> None:
        kind, exchange.found = self._views.kind(partial(path_info, exchange.scope))
        sync_handler = None
        if kind is Kind.SYNC:
            sync_handler = self._sync_handler
            if sync_handler is None and not self._second_chain_tried:
                sync_handler = self._load_sync_handler()
        try:
            if sync_handler is not None:
                await self._serve_sync(exchange, sync_handler, send)
            else:
                await self._serve_async(exchange, send)
        except (QueueTimeout, PoolClosed) as error:
            if exchange.response is not None:
                raise
            await self._send_unavailable(exchange, error, send)

    async def _respond(self, exchange: Exchange, get_response: Callable[[Exchange], Any], send: Send) -> None:
        """Get the response and send it, unless the client leaves before; then tidy up."""
        watch = exchange.watch
        try:
            await get_response(exchange)
            if exchange.response is not None and watch.active:
                await self._send(exchange, send)
        except asyncio.CancelledError:
            if not watch.is_own_cancellation():  # a deadline's, or the server's: the end is told all the same
                watch.stop()
                await self._finish(exchange)
                raise
        except RequestAborted:
            pass
        else:
            if watch.disconnected:  # the view took the cancellation for its own
                watch.is_own_cancellation()
        watch.stop()
        if watch.error is not None and not isinstance(watch.error, RequestAborted):
            raise watch.error

    # Synchronous views: one hop

    async def _serve_sync(self, exchange: Exchange, sync_handler: chains.SyncHandler, send: Send) -> None:
        if not private.only_known_at_start() and private.has_async_receivers(signals.request_started, type(self)):
            private.set_script_prefix(private.get_script_prefix(exchange.scope))
            await signals.request_started.asend(sender=type(self), scope=exchange.scope)
            exchange.served = True
        await self._respond(exchange, partial(self._get_in_thread, sync_handler), send)
        await self._finish(exchange)

    async def _get_in_thread(self, sync_handler: chains.SyncHandler, exchange: Exchange) -> None:
        await exchange.owner.run(partial(self._answer, exchange, sync_handler))

    def _answer(self, exchange: Exchange, sync_handler: chains.SyncHandler) -> None:
        """In the thread: the whole request, and the end of it where nobody can tell that it isn't over yet."""
        scope, owner = exchange.scope, exchange.owner
        private.set_script_prefix(private.get_script_prefix(scope))
        if not exchange.served:
            exchange.served = True
            if private.only_known_at_start():
                private.begin_request()
            else:
                signals.request_started.send(sender=type(self), scope=scope)
        request: Any
        request, error_response = self.create_request(scope, exchange.body)
        if request is None:
            exchange.response = error_response
            return
        exchange.request = request
        if exchange.found is not None:
            request._django_asgi_deploy_found = exchange.found
        response: Any = sync_handler.get_response(request)
        self._mark(response)
        exchange.response = response
        if response.streaming:
            if (response.is_async or private.is_plain_file(response)) and not private.in_transaction():
                private.end_request()
                owner.let_go()
        elif private.only_known_at_end() and private.finish_response_is_invisible(response, request):
            private.end_request()
            if not private.caches_need_no_close():
                private.close_caches()
            owner.let_go()
            exchange.done = True

    def _mark(self, response: Any) -> None:
        """As in ASGIHandler.run_get_response()."""
        response._handler_class = type(self)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size

    # Asynchronous views, and all that have no synchronous chain

    async def _serve_async(self, exchange: Exchange, send: Send) -> None:
        private.set_script_prefix(private.get_script_prefix(exchange.scope))
        if private.only_known_at_start():
            exchange.owner.housekeeping = True
        else:
            await signals.request_started.asend(sender=type(self), scope=exchange.scope)
        exchange.served = True
        request: Any
        request, error_response = self.create_request(exchange.scope, exchange.body)
        if request is None:
            exchange.response = error_response
            await self._send(exchange, send)
        else:
            exchange.request = request
            if exchange.found is not None:
                request._django_asgi_deploy_found = exchange.found
            await self._respond(exchange, self._get_on_loop, send)
        await self._finish(exchange)

    async def _get_on_loop(self, exchange: Exchange) -> None:
        response = await self.get_response_async(exchange.request)
        self._mark(response)
        exchange.response = response

    # The response

    async def _send(self, exchange: Exchange, send: Any) -> None:
        response = exchange.response
        if response.streaming:
            response = Streamed(response, await self._parts(exchange))
        elif private.has_plain_headers(response):
            # As in send_response(), in fewer calls.
            await send(private.response_start(response))
            for chunk, is_last in self.chunk_bytes(response.content):
                await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})
            return
        await self.send_response(response, send)

    async def _parts(self, exchange: Exchange) -> Any:
        """The response's parts, each made when the one before has been taken."""
        response, owner = exchange.response, exchange.owner
        if not private.is_sync_stream(response):
            await owner.begin_streaming()
            return aiter(response)
        if private.is_plain_file(response):
            await owner.begin_streaming()
            return self._each(partial(self._in_file_pool, owner.loop, owner.label), iter(response))
        return self._each(owner.run, await owner.run(partial(iter, response)))

    @staticmethod
    async def _each(run: Callable[[Callable[[], Any]], Any], iterator: Any) -> AsyncIterator[bytes]:
        end = object()
        following = partial(next, iterator, end)
        while (part := await run(following)) is not end:
            yield part

    async def _in_file_pool(self, loop: asyncio.AbstractEventLoop, label: object, call: Callable[[], Any]) -> Any:
        job = self.file_pool.submit(call, loop, label)
        try:
            return await job.future
        except asyncio.CancelledError:
            if not job.delivered and not job.withdraw():
                await job.ended()  # the file is not to be closed under its reader
            raise

    async def _finish(self, exchange: Exchange) -> None:
        """What Django does after the last byte."""
        response, owner = exchange.response, exchange.owner
        if response is None:
            await self._finish_without_response(exchange)
        elif exchange.done or self._may_close_here(exchange):
            # A body in memory needs no close. Django closes it a little later than this, and a task of the view's might
            # read it in between.
            private.close_response_quietly(response, run_closers=type(exchange.body) is not io.BytesIO)
            private.forget_urlconf()
        else:
            await owner.run(response.close)

    @staticmethod
    def _may_close_here(exchange: Exchange) -> bool:
        """Whether response.close() has nothing to do that needs a thread; the request's own is tidied anyway."""
        return (
            exchange.owner.housekeeping
            and exchange.request is not None
            and type(exchange.body) is io.BytesIO
            and private.only_known_at_end()
            and private.finish_response_is_invisible(exchange.response, exchange.request)
            and private.caches_need_no_close()
        )

    async def _finish_without_response(self, exchange: Exchange) -> None:
        if not exchange.served:  # it was given up in the queue; its beginning and end are told all the same
            if private.only_known_at_start() and private.only_known_at_end():
                return
            await signals.request_started.asend(sender=type(self), scope=exchange.scope)
        await signals.request_finished.asend(sender=type(self))

    async def _send_unavailable(self, exchange: Exchange, error: Exception, send: Send) -> None:
        seconds = error.retry_after if isinstance(error, QueueTimeout) else 1
        logger.warning("Service Unavailable: %s: %s", exchange.owner.label, error)
        text = b"503 Service Unavailable"
        headers = [
            (b"Content-Type", b"text/plain"),
            (b"Content-Length", b"%d" % len(text)),
            (b"Retry-After", b"%d" % math.ceil(seconds)),
        ]
        exchange.watch.stop()
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": text})
