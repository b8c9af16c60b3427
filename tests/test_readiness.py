"""READY_CHECKS: which names there are, what each finds, and what a wrong one says."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

from django_asgi_deploy.exceptions import ASGIDeployError
from django_asgi_deploy.readiness import NotReady, find_checks

WHERE = 'settings.ASGI_DEPLOY["READY_CHECKS"]'


class Pinging:
    """Looks like one of django-health-check's."""

    def run(self) -> None:
        raise ConnectionError("not there")


class WithArguments:
    def __init__(self, host: str) -> None:
        self.host = host

    def run(self) -> None:
        pass


made = WithArguments("example.com")
number = 3


def needs(argument: object) -> None:
    pass


async def asynchronous() -> None:
    pass


def find(name: str):
    return find_checks([name], WHERE)[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("databse", "'databse' (%s): there is no such check; did you mean 'database'?"),
        ("queue", "'queue' (%s): there is no such check; expected database, cache, migrations, or an import string."),
        ("database:replica", "'database:replica' (%s): there is no 'replica'; expected one of default."),
        ("cache:", "'cache:' (%s): there is no ''; expected one of default."),
        ("tests.test_readiness.nothing", "'tests.test_readiness.nothing' (%s): module 'tests.test_readiness' has no"),
        ("tests.test_readines.made", "'tests.test_readines.made' (%s): there is no module 'tests.test_readines'"),
        ("tests.test_readiness.number", "'tests.test_readiness.number' (%s) can't be called; expected a function"),
        ("tests.test_readiness.needs", "'tests.test_readiness.needs' (%s) can't be called without arguments: missing"),
        ("tests.test_readiness.WithArguments", "'tests.test_readiness.WithArguments' (%s) can't be made without"),
    ],
)
def test_a_name_that_is_wrong_is_an_error_that_says_what_was_expected(name: str, expected: str) -> None:
    with pytest.raises(ASGIDeployError) as raised:
        find(name)
    assert str(raised.value).startswith(expected % WHERE)


def test_a_check_of_django_health_checks_form_is_run_whether_it_is_a_class_or_made() -> None:
    with pytest.raises(ConnectionError):
        find("tests.test_readiness.Pinging")()
    assert find("tests.test_readiness.made")() is None


def test_an_asynchronous_function_is_left_as_it_is() -> None:
    assert find("tests.test_readiness:asynchronous") is asynchronous


def in_thread(call) -> list[BaseException]:
    """What it raised there."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors


def test_the_cache_must_give_back_what_was_put_into_it(settings: Settings) -> None:
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "readiness"}
    settings.CACHES = {"default": locmem, "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert find("cache")() is None
    with pytest.raises(NotReady, match="isn't there"):
        find("cache:none")()
    assert list(caches["default"]._cache) == []  # type: ignore[attr-defined]


@pytest.fixture
def another(tmp_path: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """The settings of a second database, known to Django as "another"; its file isn't there yet."""
    default = connections.settings["default"]
    connections.settings["another"] = {
        **default,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "db.sqlite3"),
    }
    with django_db_blocker.unblock():
        yield connections.settings["another"]
    del connections.settings["another"]


def test_a_database_that_is_not_there_fails(another: dict[str, Any]) -> None:
    another["NAME"] = "/nowhere/db.sqlite3"
    (error,) = in_thread(find("database:another"))
    assert "unable to open database file" in str(error)


def test_migrations_fail_until_they_are_applied_and_are_then_not_asked_for_any_more(
    another: dict[str, Any], settings: Settings
) -> None:
    apps = [*settings.INSTALLED_APPS, "django.contrib.contenttypes", "django.contrib.auth"]
    settings.INSTALLED_APPS = list(dict.fromkeys(apps))
    check = find("migrations:another")
    (error,) = in_thread(check)
    assert str(error).startswith("not applied: contenttypes.0001_initial, ")
    assert str(error).endswith(" more")

    def migrate() -> None:
        try:
            call_command("migrate", database="another", verbosity=0)
        finally:
            connections["another"].close()

    assert in_thread(migrate) == []
    assert in_thread(check) == []
    Path(another["NAME"]).unlink()
    assert in_thread(check) == []


def test_what_a_check_opens_in_its_thread_is_closed_there(another: dict[str, Any]) -> None:
    seen = []
    check = find("database:another")

    def checked() -> None:
        check()
        seen.append(connections["another"].connection)

    assert in_thread(checked) == []
    assert seen == [None]
