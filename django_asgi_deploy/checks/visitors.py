"""Who visits: somebody unknown, and somebody who is logged in without having a session anywhere."""

import functools
import inspect
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.db import connections
from django.db.models import UUIDField

SESSION = "checkasgi" + 23 * "a"  # a key that no session has
WRITERS = ("save", "create", "delete", "flush", "cycle_key", "clear_expired")


@dataclass(frozen=True)
class Session:
    """What a logged-in visitor's would hold; ``problem`` says why nobody real is behind it, if that is so."""

    data: dict[str, Any]
    problem: str | None = None


def session_of_a_user() -> Session | None:
    """The first user's, as far as the database has one; None if the project has no users. Asks the database."""
    if not apps.is_installed("django.contrib.auth") or not apps.is_installed("django.contrib.sessions"):
        return None
    model = get_user_model()
    problem = user = None
    try:
        user = model._default_manager.order_by("pk").first()
    except Exception as error:  # not migrated, not reachable, ...
        problem = f"the users can't be read ({type(error).__name__}: {error})"
    finally:
        connections.close_all()
    data = {BACKEND_SESSION_KEY: django_settings.AUTHENTICATION_BACKENDS[0]}
    if user is None:  # asking for one is what goes wrong on the event loop, whether there is one or not
        data[SESSION_KEY] = str(uuid.uuid4() if isinstance(model._meta.pk, UUIDField) else 1)
        return Session(data, problem)
    return Session(data | {SESSION_KEY: str(user.pk), HASH_SESSION_KEY: user.get_session_auth_hash()})


def cookie() -> str:
    return f"{django_settings.SESSION_COOKIE_NAME}={SESSION}"


@contextmanager
def logged_in(session: dict[str, Any]) -> Iterator[None]:
    """Meanwhile, whoever has the cookie has this session, and no session is written."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    with ExitStack() as stack:
        for name in ("load", "aload"):
            stack.enter_context(_replaced(store, name, _loading(getattr(store, name), session)))
        stack.enter_context(no_session_written())
        yield


@contextmanager
def no_session_written() -> Iterator[None]:
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    with ExitStack() as stack:
        for name in WRITERS:
            for each in (name, f"a{name}"):
                if hasattr(store, each):
                    stack.enter_context(_replaced(store, each, _without_writing(getattr(store, each))))
        yield


@contextmanager
def _replaced(owner: type, name: str, method: Any) -> Iterator[None]:
    own = owner.__dict__.get(name)
    setattr(owner, name, method)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _loading(load: Callable[..., Any], session: dict[str, Any]) -> Callable[..., Any]:
    """The real method is called first: on the event loop, that of a database engine raises, as in production."""
    if inspect.iscoroutinefunction(load):

        @functools.wraps(load)
        async def aload(self: Any) -> dict[str, Any]:
            key = self._session_key
            found = await load(self)
            self._session_key = key
            return dict(session) if key == SESSION else found

        return aload

    @functools.wraps(load)
    def load_(self: Any) -> dict[str, Any]:
        key = self._session_key
        found = load(self)
        self._session_key = key
        return dict(session) if key == SESSION else found

    return load_


def _without_writing(method: Any) -> Any:
    if inspect.iscoroutinefunction(method):

        async def nothing_async(*args: Any, **kwargs: Any) -> None:
            return None

        return nothing_async

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return nothing
