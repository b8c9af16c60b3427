"""Which hooks of Django's own middleware may run on the event loop, because for this request they touch no I/O."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.messages.storage import cookie, fallback, session

from django_asgi_deploy.handlers import private


class Rule:
    """Which hooks of a middleware do no input or output, asked for each request; by default any may."""

    def request(self, middleware: Any, request: Any) -> bool:
        return False

    def view(self, middleware: Any, request: Any, view: Any) -> bool:
        return False

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        return False


class Security(Rule):
    def request(self, middleware: Any, request: Any) -> bool:
        return True

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        return True


class Session(Rule):
    ENGINES = {
        f"django.contrib.sessions.backends.{name}" for name in ("cache", "cached_db", "db", "file", "signed_cookies")
    }

    def request(self, middleware: Any, request: Any) -> bool:
        return settings.SESSION_ENGINE in self.ENGINES and middleware.SessionStore.__module__ in self.ENGINES

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        # A session that isn't modified isn't saved.
        session: Any = getattr(request, "session", None)
        return (
            type(session) is middleware.SessionStore
            and type(session).__module__ in self.ENGINES
            and not session.modified
            and not settings.SESSION_SAVE_EVERY_REQUEST
        )


class Common(Rule):
    # Looking for a URL with "www." or a slash resolves it, with the project's own converters.
    def request(self, middleware: Any, request: Any) -> bool:
        return not settings.PREPEND_WWW

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        return response.status_code != 404 and private.has_plain_content(response)


class Csrf(Rule):
    SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")

    def request(self, middleware: Any, request: Any) -> bool:
        return not settings.CSRF_USE_SESSIONS

    def view(self, middleware: Any, request: Any, view: Any) -> bool:
        # Any other method may read the body, and render a page.
        return request.method in self.SAFE or bool(getattr(view, "csrf_exempt", False))

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        return not settings.CSRF_USE_SESSIONS


class Authentication(Rule):
    def request(self, middleware: Any, request: Any) -> bool:
        return True  # the user is looked up when somebody asks


class Messages(Rule):
    STORAGES = {fallback.FallbackStorage, cookie.CookieStorage, session.SessionStorage}
    PATHS = {f"{storage.__module__}.{storage.__qualname__}" for storage in STORAGES}

    def request(self, middleware: Any, request: Any) -> bool:
        return settings.MESSAGE_STORAGE in self.PATHS

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        messages: Any = getattr(request, "_messages", None)
        return type(messages) in self.STORAGES and not messages.used and not messages.added_new


class Plain(Rule):
    """Sets headers only."""

    def request(self, middleware: Any, request: Any) -> bool:
        return True

    def response(self, middleware: Any, request: Any, response: Any) -> bool:
        return True


THREAD = Rule()


def may(ask: Callable[..., bool], *about: Any) -> bool:
    try:
        return ask(*about)
    except Exception:  # a request or response that isn't what it should be: the hook itself is to say so
        return False


# By exact class: a subclass may do anything.
RULES: dict[str, Rule] = {
    "django.middleware.security.SecurityMiddleware": Security(),
    "django.contrib.sessions.middleware.SessionMiddleware": Session(),
    "django.middleware.common.CommonMiddleware": Common(),
    "django.middleware.csrf.CsrfViewMiddleware": Csrf(),
    "django.contrib.auth.middleware.AuthenticationMiddleware": Authentication(),
    "django.contrib.messages.middleware.MessageMiddleware": Messages(),
    "django.middleware.clickjacking.XFrameOptionsMiddleware": Plain(),
    "django.middleware.csp.ContentSecurityPolicyMiddleware": Plain(),
}

HOOKS = ("process_request", "process_response", "process_view", "process_exception", "process_template_response")


def rule_for(middleware: Any) -> Rule:
    kind = type(middleware)
    rule = RULES.get(f"{kind.__module__}.{kind.__qualname__}")
    if rule is None:
        return THREAD
    for name in HOOKS:
        hook = getattr(middleware, name, None)
        if hook is not None and (name in middleware.__dict__ or getattr(hook, "__module__", None) != kind.__module__):
            return THREAD  # somebody has wrapped or replaced it
    return rule
