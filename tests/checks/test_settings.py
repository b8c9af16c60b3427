"""Settings of real-looking projects: each mistake is found at its line, and nothing else is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import UserSettingsHolder, global_settings, settings
from django.test.signals import clear_cache_handlers

from django_asgi_deploy import conf
from django_asgi_deploy.checks import (
    frames,
    run,
    settings_databases,
    settings_http,
    settings_logging,
    settings_services,
)
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.importer import Found
from tests.checks.expected import as_expected, expected_in

FOLDER = Path(__file__).parent / "projects" / "settings"
FAMILIES = (settings_databases.check, settings_services.check, settings_logging.check, settings_http.check)
UNSAFE = "DJANGO_ALLOW_ASYNC_UNSAFE"


@contextmanager
def used(name: str, **changes: Any) -> Iterator[Inspected]:
    """A settings module of the benchmark in the place of the tests' own, without what Django does on a change."""
    module = import_module(f"tests.checks.projects.settings.{name}")
    os.environ.pop(UNSAFE, None)  # two of them set it
    values = {key: value for key, value in vars(module).items() if key.isupper()} | changes
    options = {key.lower(): value for key, value in values.get("ASGI_DEPLOY", {}).items()}
    holder = UserSettingsHolder(global_settings)
    for key, value in values.items():
        setattr(holder, key, value)
    apps.set_installed_apps(values["INSTALLED_APPS"])
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_wrapped", holder)
            patch.setattr(frames, "_root", FOLDER)
            yield Inspected(conf.Settings(**options), Found(module.__name__, "the test"))
    finally:
        apps.unset_installed_apps()
        clear_cache_handlers(setting="CACHES")


def found(name: str, **changes: Any) -> list[Finding]:
    with used(name, **changes) as inspected:
        return run.run(inspected, FAMILIES).shown


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("[a-z]*.py")))
def test_what_is_expected_is_found_and_nothing_else(name: str) -> None:
    assert as_expected(found(name)) == expected_in(FOLDER / f"{name}.py")


# ------------------------------------------------------------------ classes of one's own


@pytest.mark.parametrize(
    ("engine", "numbers"),
    [
        ("tests.checks.projects.stores.files", [110]),
        ("tests.checks.projects.stores.cached", [109]),
        ("tests.checks.projects.stores.signed", []),
        ("tests.checks.projects.stores.nowhere", []),
        ("django.contrib.sessions.backends.db", []),
    ],
)
def test_a_session_store_is_what_it_derives_from(engine: str, numbers: list[int]) -> None:
    changes = {"SESSION_ENGINE": engine, "DATABASES": {}, "LOGGING": {}, "SECURE_SSL_REDIRECT": False}
    changes["INSTALLED_APPS"] = ["django.contrib.contenttypes", "django.contrib.sessions"]
    changes["CACHES"] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    levels = {each.number: each.level for each in found("pooled", **changes) if each.number in (109, 110)}
    assert [number for number, level in levels.items() if level != "info"] == numbers


@pytest.mark.parametrize(
    ("bind", "levels"), [(["unix:/run/site.sock"], []), (["127.0.0.1:8000"], ["info"]), (["0.0.0.0:8000"], ["warning"])]
)
def test_a_proxy_in_front_of_a_unix_socket_is_on_this_machine(bind: list[str], levels: list[str]) -> None:
    findings = found("pooled", ASGI_DEPLOY={"BIND": bind})
    assert [each.level for each in findings if each.number == 115] == levels
