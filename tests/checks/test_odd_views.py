"""Whatever stands in a URLconf: the checks survive it, and say nothing about what they don't know."""

import dataclasses
import functools
import operator
import types
from typing import Any

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.views import View

from django_asgi_deploy import conf
from django_asgi_deploy.checks import called, classes, dispatch, rest_framework, twins, views
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.run import run

FAMILIES = [each.check for each in (views, classes, dispatch, rest_framework, twins, called)]


def executed(source: str) -> Any:
    namespace: dict[str, Any] = {"HttpResponse": HttpResponse, "functools": functools}
    exec(source, namespace)  # noqa: S102, a function without source is what is wanted
    return namespace["view"]


class Slotted:
    __slots__ = ("name",)

    def __call__(self, request: Any) -> HttpResponse:
        return HttpResponse(self.name)


class Greedy:
    """Has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: HttpResponse(name)

    def __call__(self, request: Any) -> HttpResponse:
        return HttpResponse()


class Property:
    @property
    def view(self) -> Any:
        raise AssertionError("a property was read")

    def __call__(self, request: Any) -> Any:
        return self.view(request)


def plain(request: Any) -> HttpResponse:
    return HttpResponse()


def in_circles(request: Any) -> HttpResponse:
    return HttpResponse()


in_circles.__wrapped__ = in_circles  # type: ignore[attr-defined]


def recursive(request: Any) -> Any:
    return recursive(request)


def matching(request: Any) -> Any:
    match request.method:
        case "GET" if kind := request.GET.get("kind"):
            return HttpResponse(f"{kind!r:>{10}}")
        case _:
            return HttpResponse(b"".join(part for part in [b"a", *[b"b"]]))


def deleted(request: Any) -> Any:
    return inner(request)  # type: ignore[name-defined]  # noqa: F821


def empty_cell() -> Any:
    def view(request: Any) -> Any:
        return later(request)

    if view is None:
        later = plain
    return view


class Strange(View):
    get = functools.partialmethod(operator.methodcaller("upper"))
    post = property(lambda self: plain)
    setup = staticmethod(View.setup)


def marked(request: Any) -> Any:
    return HttpResponse()


VIEWS: dict[str, Any] = {
    "built in": len,
    "C": operator.itemgetter("user"),
    "class": HttpResponse,
    "slots": Slotted(),
    "every attribute": Greedy(),
    "property": Property(),
    "circles": in_circles,
    "recursive": recursive,
    "match": matching,
    "missing name": deleted,
    "empty cell": empty_cell(),
    "strange class": Strange.as_view(),
    "marked": markcoroutinefunction(marked),
    "partial of partial": functools.partial(functools.partial(plain)),
    "partial of a builtin": functools.partial(print),
    "bridged": sync_to_async(plain),
    "bridged twice": async_to_sync(sync_to_async(plain)),
    "bound": Slotted().__call__,
    "exec": executed("def view(request):\n    return HttpResponse()"),
    "exec, lambda": executed("view = lambda request: HttpResponse()"),
    "exec, wrapper": executed(
        "def deco(f):\n    @functools.wraps(f)\n    def w(request):\n        return f(request)\n    return w\n"
        "@deco\ndef view(request):\n    return HttpResponse()"
    ),
    "cached": functools.lru_cache(plain),
    "single dispatch": functools.singledispatch(plain),
    "method type": types.MethodType(lambda self, request: HttpResponse(), object()),
    "two lambdas in a line": (lambda request: plain(request), lambda request: HttpResponse())[1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_an_odd_view_is_survived_in_silence(name: str) -> None:
    urls = types.ModuleType("odd_urls")
    vars(urls)["urlpatterns"] = [path("odd/", VIEWS[name])]
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[]):
        findings = run(Inspected(conf.load()), FAMILIES).shown
    assert findings == []


def test_a_wrapper_without_source_is_known_by_what_it_wraps() -> None:
    view = executed(
        "def deco(f):\n    @functools.wraps(f)\n    def w(request):\n        return f(request)\n    "
        "w.__dict__.pop('_is_coroutine_mark', None)\n    return w\n"
        "@deco\nasync def view(request):\n    return HttpResponse()"
    )
    urls = types.ModuleType("odd_urls")
    vars(urls)["urlpatterns"] = [path("odd/", view)]
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[]):
        findings = run(Inspected(conf.load()), FAMILIES).shown
    assert [finding.number for finding in findings] == [301]


@pytest.mark.parametrize(("handler", "numbers"), [("django", [317]), ("pooled", [])])
def test_a_project_without_asynchronous_code_pays_with_djangos_handler(handler: Any, numbers: list[int]) -> None:
    urls = types.ModuleType("plain_urls")
    vars(urls)["urlpatterns"] = [path("", plain)]
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[]):
        findings = run(Inspected(dataclasses.replace(conf.load(), handler=handler)), FAMILIES).shown
    assert [finding.number for finding in findings] == numbers
