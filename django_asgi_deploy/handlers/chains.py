"""
The middleware chains: one for asynchronous views, in which neighbours share a hop to the request's thread or need none,
and one for synchronous views, which runs in the thread from end to end.

A *classic* middleware is a MiddlewareMixin with process_request() and process_response() hooks, whose __call__() and
__acall__() are the mixin's own. What the mixin does with the hooks is known, so it can be done here for several at
once.
Every other middleware is called as Django calls it.

Over 400 lines: the rules for Django's own middleware, and the two chains that must give the same answers, side by side.
"""

import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from typing import Any

from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.core.handlers.base import BaseHandler
from django.dispatch import Signal
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from django_asgi_deploy.handlers import private
from django_asgi_deploy.handlers.rules import HOOKS, THREAD, Rule, may, rule_for
from django_asgi_deploy.handlers.views import Views, is_async

Hook = Callable[..., Any]
Layer = tuple[Any, "Rule"]  # a classic middleware, and which of its hooks may run on the event loop


def is_classic(middleware: Any) -> bool:
    kind = type(middleware)
    return (
        isinstance(middleware, MiddlewareMixin)
        and kind.__call__ is MiddlewareMixin.__call__
        and kind.__acall__ is MiddlewareMixin.__acall__
        and "__acall__" not in middleware.__dict__
        and not any(private.iscoroutinefunction(getattr(middleware, name, None)) for name in HOOKS)
    )


# The chain for asynchronous views


class Group:
    """Neighbouring classic middleware: one hop before the rest of the chain, one after it, or none."""

    def __init__(self, layers: tuple[Layer, ...], inner: Callable[[Any], Awaitable[Any]]) -> None:
        self.layers = layers
        self.inner = inner
        self.requests_in_thread = sync_to_async(self.run_requests, thread_sensitive=True)
        self.responses_in_thread = sync_to_async(self.run_responses, thread_sensitive=True)

    async def __call__(self, request: Any) -> Any:
        response, depth = await self.before(request)
        if response is None:
            try:
                response = await self.inner(request)
            except Exception as error:
                # The layer next to it sees an exception instead of a response, and passes its own response outwards.
                depth -= 1
                response, depth = await self.convert(request, error, depth)
        return await self.after(request, response, depth)

    async def before(self, request: Any) -> tuple[Any, int]:
        """A response, if there is one already, and how many layers are still to see it."""
        depth = 0
        for middleware, rule in self.layers:
            hook = getattr(middleware, "process_request", None)
            if hook is not None:
                if not may(rule.request, middleware, request):
                    found: tuple[Any, int] = await self.requests_in_thread(request, depth)
                    return found
                try:
                    response = hook(request)
                except Exception as error:
                    return await self.convert(request, error, depth)
                if response:
                    return response, depth + 1
            depth += 1
        return None, depth

    def run_requests(self, request: Any, depth: int) -> tuple[Any, int]:
        for middleware, _ in self.layers[depth:]:
            if hasattr(middleware, "process_request"):
                try:
                    response = middleware.process_request(request)
                except Exception as error:
                    return self.convert_in_thread(request, error, depth)
                if response:
                    return response, depth + 1
            depth += 1
        return None, depth

    async def after(self, request: Any, response: Any, depth: int) -> Any:
        while depth:
            middleware, rule = self.layers[depth - 1]
            hook = getattr(middleware, "process_response", None)
            depth -= 1
            if hook is None:
                continue
            if not may(rule.response, middleware, request, response):
                return await self.responses_in_thread(request, response, depth + 1)
            try:
                response = hook(request, response)
            except Exception as error:
                response, depth = await self.convert(request, error, depth)
        return response

    def run_responses(self, request: Any, response: Any, depth: int) -> Any:
        while depth:
            depth -= 1
            middleware = self.layers[depth][0]
            if not hasattr(middleware, "process_response"):
                continue
            try:
                response = middleware.process_response(request, response)
            except Exception as error:
                response, depth = self.convert_in_thread(request, error, depth)
        return response

    # Each layer is wrapped in convert_exception_to_response(), whose own exceptions (DEBUG_PROPAGATE_EXCEPTIONS) are
    # the next layer's to convert.

    async def convert(self, request: Any, error: Exception, depth: int) -> tuple[Any, int]:
        in_default_thread = sync_to_async(private.response_for_exception, thread_sensitive=False)
        while True:
            try:
                raise error
            except Exception as raised:
                try:
                    return await in_default_thread(request, raised), depth
                except Exception as next_error:
                    if not depth:
                        raise
                    error = next_error
            depth -= 1

    def convert_in_thread(self, request: Any, error: Exception, depth: int) -> tuple[Any, int]:
        while True:
            try:
                raise error
            except Exception as raised:
                try:
                    return private.response_for_exception(request, raised), depth
                except Exception as next_error:
                    if not depth:
                        raise
                    error = next_error
            depth -= 1


GROUP = "_django_asgi_deploy_group"


def grouped(handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """
    What Django is about to give to the next middleware as its get_response, joined with what is behind it.

    ``handler`` is convert_exception_to_response() around a middleware.
    """
    middleware = getattr(handler, "__wrapped__", None)
    if not is_classic(middleware) or not middleware.async_mode:  # type: ignore[union-attr]
        return handler
    behind = middleware.get_response  # type: ignore[union-attr]
    group: Group | None = getattr(behind, GROUP, None)
    layer = (middleware, rule_for(middleware))
    joined = Group((layer,), behind) if group is None else Group((layer, *group.layers), group.inner)

    async def get_response(request: Any) -> Any:
        return await joined(request)

    setattr(get_response, GROUP, joined)
    return get_response


def whole_group(chain: Any) -> Group | None:
    """The group that is the whole chain, if all of it is classic."""
    group: Group | None = getattr(chain, GROUP, None)
    if group is not None and getattr(group.inner, "__name__", "") == "_get_response_async":
        return group
    return None


class ViewHooks:
    """All process_view() hooks: those that need the thread share a hop with the ones next to them."""

    def __init__(self, hooks: list[Any]) -> None:
        # Django has wrapped the synchronous ones; an asynchronous one is as it was.
        self.hooks = [hook.func if isinstance(hook, SyncToAsync) else hook for hook in hooks]
        self.is_async = [not isinstance(hook, SyncToAsync) for hook in hooks]
        self.rules = [
            THREAD if is_async else rule_for(getattr(hook, "__self__", None))
            for hook, is_async in zip(self.hooks, self.is_async, strict=True)
        ]
        self.in_thread = sync_to_async(self.run, thread_sensitive=True)

    async def __call__(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        i, end = 0, len(self.hooks)
        while i < end:
            hook = self.hooks[i]
            if self.is_async[i]:
                response = await hook(request, view, args, kwargs)
                i += 1
            elif may(self.rules[i].view, getattr(hook, "__self__", None), request, view):
                response = hook(request, view, args, kwargs)
                i += 1
            else:
                start, i = i, self.end_of_run(i)
                response = await self.in_thread(self.hooks[start:i], request, view, args, kwargs)
            if response:
                return response
        return None

    def end_of_run(self, start: int) -> int:
        end = start
        while end < len(self.hooks) and not self.is_async[end]:
            end += 1
        return end

    @staticmethod
    def run(hooks: list[Hook], request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        for hook in hooks:
            response = hook(request, view, args, kwargs)
            if response:
                return response
        return None


# The chain for synchronous views


class SyncHandler(BaseHandler):
    """Django's own handler in its synchronous form, as WSGI uses it, beside the asynchronous one."""

    def __init__(self, resolve: Callable[[Any, Any], Any], views: Views) -> None:
        self.resolve = resolve
        self.views = views

    def resolve_request(self, request: Any) -> Any:
        return self.resolve(request, super().resolve_request)

    def make_view_atomic(self, view: Any) -> Any:
        view = super().make_view_atomic(view)
        if self.views.is_known_to_be_sync(view):
            return view
        if not private.iscoroutinefunction(view):
            if is_async(view):
                sync_to_async(view)  # raises what the asynchronous path raises for an object that isn't marked
            return view

        # An asynchronous view gets here when middleware leads to another view than the path did. async_to_sync() would
        # call it in this thread, where whatever it does before it returns a coroutine doesn't belong.
        async def on_the_loop(request: Any, *args: Any, **kwargs: Any) -> Any:
            return await view(request, *args, **kwargs)

        return on_the_loop

    def check_response(self, response: Any, callback: Any, name: str | None = None) -> None:
        if not isinstance(response, HttpResponseBase):
            super().check_response(response, callback, name)
        render = getattr(response, "render", None)
        if render is not None and private.iscoroutinefunction(render):
            # BaseHandler awaits such a render() in its asynchronous form only.
            response.render = partial(_render, response, render)


def _render(response: Any, render: Callable[[], Any]) -> Any:
    del response.render
    return async_to_sync(render)()


def share_middleware(group: Group, handler: SyncHandler) -> None:
    """Give ``handler`` the same middleware instances; what their hooks are called by differs, not what they are."""
    chain = private.convert_exception_to_response(private.djangos_get_response(handler))
    middleware = [middleware for middleware, _ in group.layers]
    for instance in reversed(middleware):
        chain = classic_layer(instance, chain)
    private.set_chain(handler, chain, middleware)


def classic_layer(middleware: Any, get_response: Hook) -> Hook:
    """MiddlewareMixin.__call__() and convert_exception_to_response() around it, in one frame."""
    convert = private.response_for_exception

    def layer(request: Any) -> Any:
        try:
            response = None
            if hasattr(middleware, "process_request"):
                response = middleware.process_request(request)
            response = response or get_response(request)
            if hasattr(middleware, "process_response"):
                response = middleware.process_response(request, response)
        except Exception as error:
            response = convert(request, error)
        return response

    return layer


class SecondChainRefused(Exception):
    """The middleware can't be built a second time; the text says which, and why."""


def load_second_chain(handler: SyncHandler) -> None:
    """Build the middleware anew, for synchronous views. All or nothing."""
    with receivers_connected() as connected:
        try:
            handler.load_middleware(is_async=False)
        except Exception as error:
            disconnect(connected)
            raise SecondChainRefused(f"building the middleware a second time failed: {error!r}") from error
    if connected:
        names = sorted(
            {f"{receiver.__module__}.{getattr(receiver, '__qualname__', receiver)}" for _, receiver, _ in connected}
        )
        disconnect(connected)
        raise SecondChainRefused(f"building the middleware a second time would connect {', '.join(names)} twice")


Connected = list[tuple[Signal, Any, dict[str, Any]]]


@contextmanager
def receivers_connected() -> Any:
    """What this thread connects to any signal in the meantime."""
    connected: Connected = []
    thread, connect = threading.get_ident(), Signal.connect

    def watching_connect(
        self: Signal, receiver: Any, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> None:
        before = len(self.receivers)
        connect(self, receiver, sender=sender, weak=weak, dispatch_uid=dispatch_uid)
        # A receiver that was connected before stays the one that it was.
        if threading.get_ident() == thread and len(self.receivers) > before:
            connected.append((self, receiver, {"sender": sender, "dispatch_uid": dispatch_uid}))

    Signal.connect = watching_connect  # type: ignore[method-assign]
    try:
        yield connected
    finally:
        Signal.connect = connect  # type: ignore[method-assign]


def disconnect(connected: Connected) -> None:
    for signal, receiver, how in connected:
        signal.disconnect(receiver, **how)


def async_only(paths: list[str]) -> list[str]:
    """The middleware that have no synchronous form."""
    return [path for path in paths if not getattr(import_string(path), "sync_capable", True)]
