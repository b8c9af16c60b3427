"""Real projects in temporary folders, looked at by single families of checks in the tests' own process."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import UserSettingsHolder, global_settings, settings
from django.test.signals import clear_cache_handlers
from django.urls import clear_url_caches

from django_asgi_deploy import conf
from django_asgi_deploy.checks import frames, sources
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.importer import Found


@contextmanager
def settings_of(values: Mapping[str, Any], *, installs: bool = True) -> Iterator[None]:
    """Meanwhile, these are Django's settings, without what Django does on a change. ``installs``: its apps, too."""
    holder = UserSettingsHolder(global_settings)
    for key, value in values.items():
        setattr(holder, key, value)
    if installs:
        apps.set_installed_apps(values["INSTALLED_APPS"])
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_wrapped", holder)
            clear_url_caches()
            clear_cache_handlers(setting="CACHES")
            yield
    finally:
        if installs:
            apps.unset_installed_apps()
        clear_url_caches()
        clear_cache_handlers(setting="CACHES")


@contextmanager
def inspected(
    folder: Path, *modules: str, application: Any = None, installs: bool = True, **options: Any
) -> Iterator[Inspected]:
    """The project ``mysite`` in a folder, with its settings in force and its modules imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(frames, "_root", folder)
        before = set(sys.modules)
        module = importlib.import_module("mysite.settings")
        values = {key: value for key, value in vars(module).items() if key.isupper()}
        try:
            with settings_of(values, installs=installs):
                for name in modules:
                    importlib.import_module(name)
                yield Inspected(
                    conf.Settings(**options),
                    Found("mysite.settings", "the test"),
                    Found("mysite.asgi:application", "the test"),
                    application,
                )
        finally:
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in ("mysite", "shop"):
                    del sys.modules[name]
            sources.text_of.cache_clear()
