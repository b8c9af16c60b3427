"""Views that are classes: what their mixins, decorators and overrides make of them (304 to 309, 312)."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import mixins
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import Atomic, atomic
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.module_loading import import_string
from django.views import View

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.functions import MISSING
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.views import _atomic, atomic_around, broken_chain, by_callback, in_words
from django_asgi_deploy.checks.wrapped import Inner, decorator_name, view_name
from django_asgi_deploy.exceptions import is_users
from django_asgi_deploy.handlers.private import iscoroutinefunction

ON_OTHER_METHODS = ("http_method_not_allowed", "options")


@dataclass(frozen=True)
class ViewClass:
    """A class in the URLconf, and where it is."""

    cls: Any
    paths: str  # in words

    @property
    def name(self) -> str:
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    @property
    def handlers(self) -> list[str]:
        return [name for name in self.cls.http_method_names if hasattr(self.cls, name)]


def check(inspected: Inspected) -> Iterator[Finding]:
    for view in view_classes(inspected):
        if is_rest_framework(view.cls):
            yield from _rest_framework(view)
            continue
        yield from _handlers(view)
        if view.cls.view_is_async:
            yield from _dispatch(view)
            yield from _answers_to_other_methods(view)
        yield from _asynchronous_hooks(view)
    yield from _mixed(inspected)


def view_classes(inspected: Inspected) -> Iterator[ViewClass]:
    found: dict[Any, list[str]] = {}
    for callback, paths in by_callback(inspected.routes):
        for layer in wrapped.layers(callback):
            cls = getattr(layer, "view_class", None) or getattr(layer, "cls", None)
            if isinstance(cls, type) and hasattr(cls, "view_is_async"):
                found.setdefault(cls, []).append(paths)
                break
    for cls, paths_of_all in found.items():
        yield ViewClass(cls, in_words(paths_of_all))


# ------------------------------------------------------------------ handlers


def _handlers(view: ViewClass) -> Iterator[Finding]:
    """get(), post() and the others, and what they are decorated with."""
    for name in view.handlers:
        handler = getattr(view.cls, name)
        atomic_view = atomic_around(handler)
        if atomic_view is not None:
            yield _atomic(atomic_view, f"{view.name}.{name}", f"{name.upper()} {view.paths} is answered with 500")
        elif not iscoroutinefunction(handler):
            chain = _handler_chain(view.cls, name)
            if chain:
                yield broken_chain(chain, f"{name.upper()} {view.paths}")


def _handler_chain(cls: Any, name: str) -> tuple[Inner, ...]:
    """As wrapped.coroutine_chain(), of a method: its request comes after self."""
    owner = _owner(cls, name)
    function = functions.function_of(vars(owner).get(name)) if owner else None
    if function is None or owner is View:
        return ()
    return wrapped.coroutine_chain(function)


def _owner(cls: Any, name: str) -> Any:
    return next((each for each in cls.__mro__ if name in vars(each)), None)


# ------------------------------------------------------------------ dispatch()


def _dispatch(view: ViewClass) -> Iterator[Finding]:
    """Each synchronous dispatch() on the way to the asynchronous handler."""
    for function in _dispatches(view.cls):
        decorators = _decorators(function)
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
            if _decorators(function) is None:
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


def _decorators(function: Any) -> list[Any] | None:
    """What method_decorator() was given, if it made this function."""
    plain = functions.function_of(function)
    if plain is None or plain.__code__.co_name != "_wrapper":
        return None
    inside = functions.cells(plain)
    if "method" not in inside or "decorators" not in inside:
        return None
    decorators = inside["decorators"]
    return [*decorators] if isinstance(decorators, list | tuple) else [decorators]


def _decorated(view: ViewClass, function: Any, decorators: list[Any]) -> Iterator[Finding]:
    for decorator in decorators:
        if decorator is atomic or isinstance(decorator, Atomic):
            yield _atomic(view.cls, view.name, f"each request of {view.paths} is answered with 500")
            continue
        reason = _what_it_does(decorator)
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


def _what_it_does(decorator: Any) -> str | None:
    """What is wrong with it around a synchronous function that returns a coroutine; None if nothing is."""

    def dispatch(request: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    try:
        made = decorator(dispatch)
    except Exception:
        return None
    reasons: list[str] = []
    for layer in wrapped.layers(made):
        if layer is dispatch or iscoroutinefunction(layer):
            continue
        function = functions.function_of(layer) or functions.function_of(wrapped.call_of(layer))
        node = functions.node_of(function)
        if function is None or node is None:
            continue
        inner = [each for each in wrapped.called_by(layer) if each.is_wrapped]
        roles = {role for each in inner for role in each.roles}
        if roles & {"awaited", "tested"}:
            continue
        if "used" in roles:
            reasons.append("it takes the coroutine for the response, and each request is answered with 500")
        elif _reads_user(function, node):
            reasons.append(
                "it reads request.user on the event loop, and who is logged in gets 500 (SynchronousOnlyOperation)"
            )
        elif _returns_response(function, node):
            reasons.append("where it answers by itself, Django awaits that response, and the answer is 500 (TypeError)")
    return reasons[0] if reasons else None


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
    reason = _access_mixin(view.cls, plain) if plain.__module__ == mixins.__name__ else _own_reason(plain, node)
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
        if node is not None and cls.raise_exception and not _mentions_user(node):
            return None
        return f"its test runs on the event loop; {members}, {anonymous}"
    if function.__qualname__.startswith("LoginRequiredMixin.") and _login_middleware_comes_first(cls):
        return None
    return f"{members}, {anonymous}"


def _login_middleware_comes_first(cls: Any) -> bool:
    """LoginRequiredMiddleware has loaded request.user in a thread, and sends anonymous visitors away."""
    if not getattr(getattr(cls, "dispatch", None), "login_required", True):
        return False
    for path in settings.MIDDLEWARE:
        middleware = import_string(path)
        for each in getattr(middleware, "__mro__", ()):
            if f"{each.__module__}.{each.__qualname__}" == "django.contrib.auth.middleware.LoginRequiredMiddleware":
                return True
    return False


def _own_reason(function: Any, node: Any) -> str | None:
    roles = {
        role
        for call in functions.calls(node, lambda each: functions.is_in_super(function, each, "dispatch"))
        for role in functions.roles(function, node, call)
    }
    if roles & {"awaited", "tested"}:
        return None
    if "used" in roles:
        return "it takes the coroutine of super().dispatch() for the response, and each request is answered with 500"
    if _reads_user(function, node):
        return (
            "it reads request.user or request.session on the event loop, and who has a session gets 500 "
            "(SynchronousOnlyOperation)"
        )
    if _returns_response(function, node):
        return "where it answers by itself, Django awaits that response, and the answer is 500 (TypeError)"
    return None


# ------------------------------------------------------------------ what a function does


def _is_request(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Attribute):
        return expression.attr == "request"
    return isinstance(expression, ast.Name) and expression.id in ("request", "req")


def _is_user_or_session(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("user", "session") and _is_request(node.value)


def _mentions_user(node: Any) -> bool:
    return any(_is_user_or_session(each) for each in functions.own_nodes(node))


def _reads_user(function: Any, node: Any) -> bool:
    """request.user.anything, request.session[...] or .get(): what loads them. Also user_passes_test()'s own wrapper."""
    is_djangos = function.__module__ == "django.contrib.auth.decorators"
    for each in functions.own_nodes(node):
        if isinstance(each, ast.Attribute | ast.Subscript) and _is_user_or_session(each.value):
            return True
        if isinstance(each, ast.Compare) and any(_is_user_or_session(right) for right in each.comparators):
            return True
        if is_djangos and isinstance(each, ast.Call) and any(map(_is_user_or_session, each.args)):
            return True
    return False


def _returns_response(function: Any, node: Any, depth: int = 2) -> bool:
    """Whether it returns a response that it made itself, as far as that can be seen."""
    made: set[str] = set()
    for each in functions.own_nodes(node):
        if (
            isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Call)
            and _makes_response(function, each.value, depth)
        ):
            made |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    for each in functions.own_nodes(node):
        if isinstance(each, ast.Return) and each.value is not None:
            if isinstance(each.value, ast.Name) and each.value.id in made:
                return True
            if isinstance(each.value, ast.Call) and _makes_response(function, each.value, depth):
                return True
    return False


def _makes_response(function: Any, call: ast.Call, depth: int) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("handle_no_permission", "http_method_not_allowed"):
        return call.func.attr == "handle_no_permission"
    called = functions.value(function, call.func)
    if called is MISSING:
        return False
    if called in (redirect, render):
        return True
    if isinstance(called, type):
        return issubclass(called, HttpResponseBase)
    plain, inner = functions.function_of(called), functions.node_of(called)
    return bool(depth) and isinstance(inner, ast.FunctionDef) and _returns_response(plain, inner, depth - 1)


# ------------------------------------------------------------------ overrides


def _answers_to_other_methods(view: ViewClass) -> Iterator[Finding]:
    for name in ON_OTHER_METHODS:
        owner = _owner(view.cls, name)
        function = functions.function_of(vars(owner)[name])
        if owner is View or function is None or iscoroutinefunction(function):
            continue
        node = functions.node_of(function)
        if node is None or not _answers_synchronously(function, node, name):
            continue
        method = "OPTIONS" if name == "options" else "Any method that it doesn't handle"
        yield found(
            307,
            f"{owner.__qualname__}.{name}() is synchronous, and {view.name} is asynchronous: Django awaits what it "
            f"returns. {method} at {view.paths} is answered with 500 (TypeError).",
            f"async def {name}(self, request, *args, **kwargs), with await super().{name}(...) if you call it.",
            object=view.name,
            place=functions.place(function) or functions.class_place(view.cls),
        )


def _answers_synchronously(function: Any, node: Any, name: str) -> bool:
    calls = functions.calls(node, lambda each: functions.is_in_super(function, each, name))
    roles = {role for call in calls for role in functions.roles(function, node, call)}
    if "tested" in roles:
        return False
    return "used" in roles or _returns_response(function, node)


def _asynchronous_hooks(view: ViewClass) -> Iterator[Finding]:
    """Methods that Django, or another package, calls as synchronous ones."""
    is_async = view.cls.view_is_async
    for name in dir(view.cls):
        owner = _owner(view.cls, name)
        if owner is None or name.startswith("__"):
            continue
        function = functions.function_of(vars(owner)[name])
        if function is None or not iscoroutinefunction(function) or not _is_projects(function):
            continue
        if name in view.cls.http_method_names or (is_async and name not in ("setup", "as_view")):
            continue
        if not _overrides_synchronous(view.cls, owner, name) or _is_awaited_by_project(view.cls, name):
            continue
        yield found(
            308,
            f"{owner.__qualname__}.{name}() is a coroutine function, and the synchronous view {view.name} calls it "
            f"without await: {_consequence(name)} ({view.paths}).",
            f"Make {name}() synchronous, or the handlers asynchronous: async def get() with await self.{name}().",
            object=f"{view.name}.{name}",
            place=functions.place(function),
        )


def _consequence(name: str) -> str:
    if name in ("test_func", "has_permission"):
        return "a coroutine is always true, so everybody passes the test"
    return "it never runs, and the page fails (500) or shows a coroutine in its place"


def _is_projects(function: Any) -> bool:
    return is_users(function.__code__.co_filename)


def _overrides_synchronous(cls: Any, owner: Any, name: str) -> bool:
    for base in cls.__mro__[cls.__mro__.index(owner) + 1 :]:
        overridden = functions.function_of(vars(base).get(name))
        if overridden is not None:
            return not iscoroutinefunction(overridden) and not _is_projects(overridden)
    return False


def _is_awaited_by_project(cls: Any, name: str) -> bool:
    """Whether a method of the project awaits it, or gives it to async_to_sync()."""
    for base in cls.__mro__:
        for each in vars(base).values():
            function = functions.function_of(each)
            if function is None or function.__name__ == name or not _is_projects(function):
                continue
            node = functions.node_of(function)
            if node is not None and any(_awaits(part, name) for part in functions.own_nodes(node)):
                return True
    return False


def _awaits(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Await):
        return any(_is_own(each, name) for each in ast.walk(node))
    return isinstance(node, ast.Call) and any(_is_own(argument, name) for argument in node.args)


def _is_own(node: ast.AST, name: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


# ------------------------------------------------------------------ mixed handlers


def _mixed(inspected: Inspected) -> Iterator[Finding]:
    """Of the project's own classes, in the URLconf or not: as_view() fails, which can be the import of the URLconf."""
    for module in inspected.modules:
        for cls in [*vars(module).values()]:
            if not isinstance(cls, type) or not issubclass(cls, View) or cls.__module__ != module.__name__:
                continue
            try:
                cls.view_is_async  # noqa: B018, it is computed
            except ImproperlyConfigured:
                yield found(
                    309,
                    f"{cls.__module__}.{cls.__qualname__} has {_which(cls, True)}, which are coroutine functions, and "
                    f"{_which(cls, False)}, which are not: as_view() raises ImproperlyConfigured.",
                    "Make all handlers async def, or none.",
                    object=f"{cls.__module__}.{cls.__qualname__}",
                    place=functions.class_place(cls),
                )
            except Exception:
                continue


def _which(cls: Any, is_async: bool) -> str:
    names = [
        name
        for name in cls.http_method_names
        if name != "options" and hasattr(cls, name) and iscoroutinefunction(getattr(cls, name)) is is_async
    ]
    return " and ".join(f"{name}()" for name in names)


# ------------------------------------------------------------------ Django REST framework


def is_rest_framework(cls: Any) -> bool:
    views = sys.modules.get("rest_framework.views")
    return views is not None and issubclass(cls, views.APIView)


def _rest_framework(view: ViewClass) -> Iterator[Finding]:
    owner = _owner(view.cls, "dispatch")
    if not owner.__module__.startswith("rest_framework.") or iscoroutinefunction(vars(owner)["dispatch"]):
        return  # adrf, or the project's own
    for name, function in _rest_handlers(view.cls):
        yield found(
            312,
            f"{name}() is a coroutine function, and Django REST framework calls it as a synchronous one: it gets a "
            f"coroutine in the place of a response, and {view.paths} is answered with 500 (AssertionError).",
            "Make it synchronous, or take the view's base class (or api_view) from adrf: python -m pip install adrf",
            object=name,
            place=functions.place(function),
        )


def _rest_handlers(cls: Any) -> Iterator[tuple[str, Any]]:
    actions = ("list", "create", "retrieve", "update", "partial_update", "destroy")
    extra = [name for name in dir(cls) if hasattr(getattr(cls, name, None), "mapping")]
    for name in dict.fromkeys([*cls.http_method_names, *actions, *extra]):
        handler = getattr(cls, name, None)
        if handler is None:
            continue
        if iscoroutinefunction(handler):
            yield f"{cls.__module__}.{cls.__qualname__}.{name}", handler
            continue
        inside = wrapped.closure_of(handler).get("func")  # what @api_view made a class of
        if inside is not None and iscoroutinefunction(inside):
            yield view_name(inside), inside
            return
