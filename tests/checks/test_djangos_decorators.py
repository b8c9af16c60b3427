"""Each of Django's own view decorators, on dispatch() of an asynchronous view: found if, and only if, it does harm."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import decorators as auth
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators import cache, clickjacking, common, csrf, debug, gzip, http, vary

from django_asgi_deploy.checks.dispatch import what_it_does

DECORATORS: dict[str, Callable[..., Any]] = {
    "login_required": auth.login_required,
    "login_required(...)": auth.login_required(login_url="/in/"),
    "permission_required": auth.permission_required("shop.buy"),
    "permission_required, raising": auth.permission_required("shop.buy", raise_exception=True),
    "user_passes_test": auth.user_passes_test(lambda user: user.is_staff),
    "never_cache": cache.never_cache,
    "cache_control": cache.cache_control(private=True),
    "cache_page": cache.cache_page(60),
    "csrf_exempt": csrf.csrf_exempt,
    "csrf_protect": csrf.csrf_protect,
    "ensure_csrf_cookie": csrf.ensure_csrf_cookie,
    "xframe_options_deny": clickjacking.xframe_options_deny,
    "xframe_options_exempt": clickjacking.xframe_options_exempt,
    "xframe_options_sameorigin": clickjacking.xframe_options_sameorigin,
    "no_append_slash": common.no_append_slash,
    "sensitive_post_parameters": debug.sensitive_post_parameters("password"),
    "gzip_page": gzip.gzip_page,
    "require_GET": http.require_GET,
    "require_safe": http.require_safe,
    "require_POST": http.require_POST,
    "condition": http.condition(etag_func=lambda request: '"one"'),
    "last_modified": http.last_modified(lambda request: datetime(2026, 1, 1, tzinfo=UTC)),
    "conditional_page": http.conditional_page,
    "vary_on_cookie": vary.vary_on_cookie,
    "vary_on_headers": vary.vary_on_headers("Accept"),
}
FINE = (PermissionDenied, Http404)


class UserLoaded(Exception):
    """As SynchronousOnlyOperation, where a query would be made on the event loop."""


def load_user() -> Any:
    raise UserLoaded


def harm(decorator: Callable[..., Any]) -> list[str]:
    """The requests that fail. The coroutines that nobody awaits are collected here: none may grow old before."""
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            failing = requests_failing(decorator)
            gc.collect(1)
    finally:
        gc.enable()
    return failing


def requests_failing(decorator: Callable[..., Any]) -> list[str]:

    @method_decorator(decorator, name="dispatch")
    class Page(View):
        async def get(self, request: Any) -> HttpResponse:
            return HttpResponse("page")

        async def post(self, request: Any) -> HttpResponse:
            return HttpResponse("page")

    async def ask(request: Any) -> None:
        request.user = SimpleLazyObject(load_user)
        request._dont_enforce_csrf_checks = False
        response = await Page.as_view()(request)
        assert isinstance(response, HttpResponseBase)

    failing = []
    for method in ("get", "post", "delete"):
        request = getattr(RequestFactory(), method)("/", headers={"If-None-Match": '"one"', "Accept-Encoding": "gzip"})
        try:
            asyncio.run(ask(request))
        except FINE:
            continue
        except Exception as error:
            failing.append(f"{method}: {error!r}")
    return failing


@pytest.mark.parametrize("name", DECORATORS)
def test_it_is_found_if_it_does_harm(name: str) -> None:
    decorator = DECORATORS[name]
    said, happens = what_it_does(decorator), harm(decorator)
    assert bool(said) == bool(happens), (said, happens)
