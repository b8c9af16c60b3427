"""A synchronous dispatch() in front of asynchronous handlers: of a mixin, of the view, or decorated (304 to 306)."""

import ast
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.transaction import Atomic, atomic
from django.utils.module_loading import import_string
from django.views import View

from django_asgi_deploy.checks import answers, functions, wrapped
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.routes import ViewClass, is_rest_framework, view_classes
from django_asgi_deploy.checks.views import atomic_finding
from django_asgi_deploy.checks.wrapped import decorator_name
from django_asgi_deploy.handlers.private import iscoroutinefunction

MIXINS = "django.contrib.auth.mixins"  # imported, it would need the app


def check(inspected: Inspected) -> Iterator[Finding]:
    for view in view_classes(inspected):
        if view.cls.view_is_async and not is_rest_framework(view.cls):
            yield from surviving([_dispatch], view)


def _dispatch(view: ViewClass) -> Iterator[Finding]:
    """Each synchronous dispatch() on the way to the asynchronous handler, and setup() before it."""
    setup = functions.function_of(getattr(view.cls, "setup", None))
    node = functions.node_of(setup)
    is_loaded = login_middleware_comes_first(view.cls)
    if isinstance(node, ast.FunctionDef) and setup is not View.setup and _loads_user(setup, node, view.cls, is_loaded):
        yield _reads_on_the_loop(view, setup)
    for function in _dispatches(view.cls):
        decorators = wrapped.decorators_of(function)
        if decorators is not None:
            yield from _decorated(view, function, decorators)
        elif not iscoroutinefunction(function):
            yield from _synchronous_dispatch(view, function)


def _dispatches(cls: Any) -> Iterator[Any]:
    """Every dispatch() that runs, outermost first; without View's own."""
    classes = [each for each in cls.__mro__ if "dispatch" in vars(each)]
    for owner in classes:
        function = vars(owner)["dispatch"]
        while True:
            if owner is View or not functions.function_of(function):
                return
            yield function
            if wrapped.decorators_of(function) is None:
                break
            function = wrapped.closure_of(function).get("method")
            if not any(vars(each).get("dispatch") is function for each in (owner,)) and any(
                vars(each).get("dispatch") is function for each in classes
            ):
                break  # inherited: it comes next
        node = functions.node_of(function)
        if node is not None and not functions.calls(
            node,
            lambda call, function=function: functions.is_in_super(function, call, "dispatch"),  # type: ignore[misc]
        ):
            return


def _decorated(view: ViewClass, function: Any, decorators: list[Any]) -> Iterator[Finding]:
    for decorator in decorators:
        if decorator is atomic or isinstance(decorator, Atomic):
            yield atomic_finding(view.cls, view.name, f"each request of {view.paths} is answered with 500")
            continue
        reason = what_it_does(decorator, login_middleware_comes_first(view.cls))
        if reason:
            inherited = vars(view.cls).get("dispatch") is not function
            name = _name_of_decorator(decorator)
            written = _short(name) + ("(...)" if _is_made(decorator) else "")
            yield found(
                306,
                f"{name} on dispatch() of the asynchronous view {view.name} doesn't know that the view is "
                f"asynchronous, because dispatch() isn't: {reason} at {view.paths}.",
                f"Decorate the view: {written}({view.cls.__name__}.as_view()); or its handler: "
                f'@method_decorator({written}, name="{_async_handler(view)}").',
                object=view.name,
                place=_own_dispatch(view.cls, function) if not inherited else functions.class_place(view.cls),
            )


def _own_dispatch(cls: Any, function: Any) -> Any:
    method = wrapped.closure_of(function).get("method")
    own = functions.place(method)
    if own and functions.function_of(method).__qualname__.startswith(f"{cls.__qualname__}."):  # type: ignore[union-attr]
        return own
    return functions.class_place(cls)


def what_it_does(decorator: Any, is_loaded: bool = False) -> str | None:
    """
    What is wrong with it around a synchronous function that returns a coroutine; None if nothing is.

    ``is_loaded``: somebody has loaded the user before, and refused who isn't logged in.
    """

    def dispatch(request: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    try:
        made = decorator(dispatch)
    except Exception:
        return None
    reasons: list[str] = []
    for layer in wrapped.layers(made):
        if layer is dispatch or iscoroutinefunction(layer) or (layer is not made and wrapped.is_part_of(made, layer)):
            continue
        function = functions.function_of(layer) or functions.function_of(wrapped.call_of(layer))
        node = functions.node_of(function)
        if function is None or node is None:
            continue
        inner = [each for each in wrapped.called_by(layer) if each.is_wrapped]
        roles = {role for each in inner for role in each.roles}
        if roles & {"awaited", "tested"} or (is_loaded and _asks_for_login_only(function)):
            continue
        if "used" in roles:
            reasons.append("it takes the coroutine for the response, and each request is answered with 500")
        elif _loads_user(function, node, None, is_loaded):
            reasons.append(
                "it reads request.user on the event loop, and who is logged in gets 500 (SynchronousOnlyOperation)"
            )
        elif answers.returns_response(function, node):
            reasons.append("where it answers by itself, Django awaits that response, and the answer is 500 (TypeError)")
    return reasons[0] if reasons else None


def _asks_for_login_only(wrapper: Any) -> bool:
    """Whether login_required made it."""
    test = functions.function_of(wrapped.closure_of(wrapper).get("test_func"))
    return test is not None and test.__qualname__ == "login_required.<locals>.<lambda>"


def _loads_user(function: Any, node: Any, cls: Any, is_loaded: bool) -> bool:
    """Whether it makes the query for the user, or the session; or, where these are loaded, that for permissions."""
    if not answers.reads_user(function, node, cls):
        return False
    test = functions.function_of(wrapped.closure_of(function).get("test_func"))
    return (
        not is_loaded or answers.asks_for_permissions(node) or (test is not None and "check_perms" in test.__qualname__)
    )


def _name_of_decorator(decorator: Any) -> str:
    plain = functions.function_of(decorator)
    if plain is None:
        return decorator_name(decorator)
    name = plain.__code__.co_qualname.partition(".<locals>")[0]
    if plain.__code__.co_qualname == "user_passes_test.<locals>.decorator":
        name = "user_passes_test"
    return f"{plain.__globals__.get('__name__', '?')}.{name}"


def _is_made(decorator: Any) -> bool:
    """Whether a call made it, as in ``cache_control(private=True)``."""
    plain = functions.function_of(decorator)
    return plain is not None and "<locals>" in plain.__code__.co_qualname


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _async_handler(view: ViewClass) -> str:
    return next(name for name in view.handlers if name != "options")


def _synchronous_dispatch(view: ViewClass, function: Any) -> Iterator[Finding]:
    plain = functions.function_of(function)
    node = functions.node_of(function)
    if plain is None or node is None:
        return
    reason = _access_mixin(view.cls, plain) if plain.__module__ == MIXINS else _own_reason(plain, node, view.cls)
    if reason is None:
        return
    owner = plain.__qualname__.rpartition(".")[0]
    in_class = f"{view.cls.__qualname__}.dispatch" == plain.__qualname__
    yield found(
        305,
        f"{owner}.dispatch() is synchronous, and the handlers of {view.name} are asynchronous: {reason} "
        f"at {view.paths}.",
        _instead(plain, view),
        object=view.name,
        place=functions.place(plain) if in_class else functions.class_place(view.cls),
        chain=(str(place),) if (place := functions.place(plain)) else (),
    )


def _reads_on_the_loop(view: ViewClass, setup: Any) -> Finding:
    return found(
        305,
        f"{setup.__qualname__}() is synchronous, and the handlers of {view.name} are asynchronous: it reads the user "
        f"or the session on the event loop, and who has one gets 500 (SynchronousOnlyOperation) at {view.paths}.",
        "Read the user in the handler, with user = await request.auser(); or make the handlers synchronous.",
        object=view.name,
        place=functions.place(setup) or functions.class_place(view.cls),
    )


def _instead(function: Any, view: ViewClass) -> str:
    cls = view.cls.__name__
    if function.__qualname__.startswith("LoginRequiredMixin."):
        return f"login_required({cls}.as_view()) in the URLconf, in the place of the mixin."
    if function.__qualname__.startswith("PermissionRequiredMixin."):
        return f"permission_required(...)({cls}.as_view()) in the URLconf, in the place of the mixin."
    return (
        "Make it async def dispatch(), with user = await request.auser() and return await super().dispatch(...); or "
        "make the handlers synchronous."
    )


def _access_mixin(cls: Any, function: Any) -> str | None:
    """What happens with Django's own mixins."""
    anonymous = "anonymous visitors get 500 (TypeError) instead of the way to the login"
    members = "who is logged in gets 500 (SynchronousOnlyOperation)"
    if function.__qualname__.startswith("UserPassesTestMixin."):
        test = functions.function_of(functions.member(cls, "test_func"))
        node = functions.node_of(test)
        if node is not None and cls.raise_exception and not answers.mentions_user(node):
            return None
        return f"its test runs on the event loop; {members}, {anonymous}"
    if function.__qualname__.startswith("LoginRequiredMixin.") and login_middleware_comes_first(cls):
        return None
    return f"{members}, {anonymous}"


def login_middleware_comes_first(cls: Any) -> bool:
    """LoginRequiredMiddleware has loaded request.user in a thread, and sends anonymous visitors away."""
    if not getattr(getattr(cls, "dispatch", None), "login_required", True):
        return False
    for path in settings.MIDDLEWARE:
        middleware = import_string(path)
        for each in getattr(middleware, "__mro__", ()):
            if f"{each.__module__}.{each.__qualname__}" == "django.contrib.auth.middleware.LoginRequiredMiddleware":
                return True
    return False


def _own_reason(function: Any, node: Any, cls: Any) -> str | None:
    roles = {
        role
        for call in functions.calls(node, lambda each: functions.is_in_super(function, each, "dispatch"))
        for role in functions.roles(function, node, call)
    }
    if roles & {"awaited", "tested"}:
        return None
    if "used" in roles:
        return "it takes the coroutine of super().dispatch() for the response, and each request is answered with 500"
    if _loads_user(function, node, cls, login_middleware_comes_first(cls)):
        return (
            "it reads request.user or request.session on the event loop, and who has a session gets 500 "
            "(SynchronousOnlyOperation)"
        )
    if answers.returns_response(function, node, cls):
        return "where it answers by itself, Django awaits that response, and the answer is 500 (TypeError)"
    return None
