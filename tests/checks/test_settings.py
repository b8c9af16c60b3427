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


def found(name: str, **changes: Any) -> list[Finding]:
    with used(name, **changes) as inspected:
        return run.run(inspected, FAMILIES).shown


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("[a-z]*.py")))
def test_what_is_expected_is_found_and_nothing_else(name: str) -> None:
    assert as_expected(found(name)) == expected_in(FOLDER / f"{name}.py")
