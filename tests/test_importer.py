"""Finding settings modules and applications by name."""

import sys
from pathlib import Path

import pytest

from django_asgi_deploy import importer
from django_asgi_deploy.exceptions import ApplicationError
from django_asgi_deploy.importer import Found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on sys.path that is the current one; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(importer.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        for package in file.relative_to(folder).parents:
            if package.name:
                (folder / package / "__init__.py").touch()
        file.write_text(text)


@pytest.mark.parametrize(
    ("source", "declared"),
    [
        ('import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "a.settings")', "a.settings"),
        ('from os import environ\nenviron.setdefault("DJANGO_SETTINGS_MODULE", "a.settings")', "a.settings"),
        ('import os\nos.environ["DJANGO_SETTINGS_MODULE"] = "a.settings"', "a.settings"),
        ('application = get_asgi_application("a.settings")', "a.settings"),
        ('application = get_asgi_application(settings_module="a.settings")', "a.settings"),
        ('application = asgi.get_asgi_application("a.settings")', "a.settings"),
        ('os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"a.{name}")', None),
        ("application = get_asgi_application()", None),
        ("this is no Python", None),
    ],
)
def test_the_declared_settings_module_is_read_from_the_source(
    tmp_path: Path, source: str, declared: str | None
) -> None:
    file = tmp_path / "asgi.py"
    file.write_text(source)
    assert importer.declared_settings_module(file) == declared


def test_option_environment_default_and_manage_py_are_asked_in_this_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "manage.py").write_text('os.environ.setdefault("DJANGO_SETTINGS_MODULE", "from.manage")')
    assert importer.find_settings_module().name == "from.manage"
    assert importer.find_settings_module(default="from.asgi").name == "from.asgi"
    monkeypatch.setenv(importer.VARIABLE, "from.environment")
    assert importer.find_settings_module(default="from.asgi").name == "from.environment"
    assert importer.find_settings_module("from.option", "from.asgi") == Found("from.option", "--settings", True)


@pytest.mark.parametrize(
    ("files", "urlconf", "settings", "expected"),
    [
        (["mysite/asgi"], "mysite.urls", "mysite.settings", "mysite.asgi"),
        (["mysite/asgi"], "mysite.config.urls", "mysite.settings.production", "mysite.asgi"),
        (["mysite/web/asgi", "mysite/asgi"], "mysite.web.urls", "mysite.settings", "mysite.web.asgi"),
        (["config/asgi"], "mysite.urls", "config.settings", "config.asgi"),
        (["config/settings/asgi", "config/asgi"], "mysite.urls", "config.settings.dev", "config.settings.asgi"),
        (["asgi"], "urls", "settings", "asgi"),
        (["mysite/other"], "mysite.urls", "mysite.settings", None),
        (["asgi", "mysite/other"], "mysite.urls", "mysite.settings", None),
    ],
)
def test_the_application_is_looked_for_beside_urls_then_settings_then_around(
    folder: Path, files: list[str], urlconf: str, settings: str, expected: str | None
) -> None:
    write(folder, **{name.replace("/", "__"): "" for name in files})
    found = importer.find_application(None, None, urlconf, settings)
    assert (found and found.name) == (f"{expected}:application" if expected else None)


def test_what_is_configured_wins_over_the_setting_and_that_over_looking() -> None:
    configured = Found("a.asgi:application", "--application")
    assert importer.find_application(configured, "b.asgi.application", "c.urls", "c.settings") is configured
    found = importer.find_application(None, "b.asgi.application", "c.urls", "c.settings")
    assert found == Found("b.asgi.application", "settings.ASGI_APPLICATION")


@pytest.mark.parametrize("path", ["pack.mod:a.b", "pack.mod.a"])
def test_both_forms_of_import_strings_are_understood(folder: Path, path: str) -> None:
    write(folder, pack__mod="class a:\n    b = 1\n")
    assert importer.import_from_string(path, "here") is not None


@pytest.mark.parametrize("path", ["mod", ":a", "mod:", "pack/mod.py:a", "pack mod:a", ""])
def test_what_is_no_import_string_is_answered_with_the_form(path: str) -> None:
    with pytest.raises(ApplicationError, match=r"expected \"package.module:attribute\""):
        importer.import_from_string(path, "here")
