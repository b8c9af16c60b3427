"""What checkasgi's source family says of installed packages, as if each were the project.

    python benchmarks/precision.py django channels wagtail ...

Every module of the packages that can be imported is imported (not tests and migrations), their Django apps are
installed, and the coroutine functions in them are read as a project's own would be. One line per finding;
docs/checks-precision.rst says of each whether it is right.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import django
from django.conf import settings

CONTRIB = ["auth", "contenttypes", "sessions", "messages", "sites", "staticfiles", "admin"]
SKIPPED = {"tests", "test", "testing", "migrations", "conftest", "__main__", "project_template", "conf"}


@dataclass
class Package:
    """What the checks ask of a project."""

    modules: tuple[ModuleType, ...]
    handler: str = "django"
    routes: tuple[object, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="importable names")
    parser.add_argument("--middleware", action="append", default=[], help="more of MIDDLEWARE")
    parser.add_argument("--app", action="append", default=[], help="these of INSTALLED_APPS, instead of all found")
    options = parser.parse_args()
    roots = [root for name in options.packages for root in _roots(name)]
    _configure(options.app or _apps(options.packages, roots), options.middleware)
    modules = tuple(_import(options.packages, roots))
    from django_asgi_deploy.checks import source

    started = time.perf_counter()
    findings = sorted(source.check(Package(modules)), key=lambda each: (each.place or ("", 0), each.id))
    seconds = time.perf_counter() - started
    for each in findings:
        place = each.place
        where = f"{_short(place.file)}:{place.line}" if place else "nowhere"
        print(f"{each.id} {each.level:7} {where} {each.object}: {each.message}")
    count = sum(map(_count, modules))
    print(f"{len(findings)} findings in {count} async functions of {len(modules)} modules, {seconds:.2f} s")


def _roots(name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        sys.exit(f"{name}: no such package; pip install it")
    yield from map(Path, spec.submodule_search_locations or [])


def _apps(names: list[str], roots: list[Path]) -> list[str]:
    """Packages with models, or with an AppConfig."""
    found = []
    for root in roots:
        name = root.name if root.name in names else ".".join([*names[0].split(".")[:-1], root.name])
        for file in sorted(root.rglob("*.py")):
            inside = file.relative_to(root).parts
            if file.name in ("models.py", "apps.py") and not SKIPPED & set(inside) and name != "django":
                app = ".".join([name, *inside[:-1]])
                if app not in found:
                    found.append(app)
    return found


def _configure(apps: list[str], middleware: list[str]) -> None:
    warnings.simplefilter("ignore")
    options = {
        "SECRET_KEY": "precision",
        "ROOT_URLCONF": "django.contrib.auth.urls",
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        "SITE_ID": 1,
        "STATIC_URL": "/static/",
        "MIDDLEWARE": middleware,
        "USE_TZ": True,
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        "CACHES": {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://localhost"}
        },
    }
    settings.configure(**options, INSTALLED_APPS=[f"django.contrib.{name}" for name in CONTRIB])
    rejected = []
    for app in dict.fromkeys(apps):  # one by one: some want others, or settings that aren't there
        if app not in settings.INSTALLED_APPS and not _can_install([*settings.INSTALLED_APPS, app]):
            rejected.append(app)
    if rejected:
        print(f"not installed: {', '.join(rejected)}", file=sys.stderr)
    django.setup()


def _can_install(apps: list[str]) -> bool:
    from django.apps import AppConfig

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            AppConfig.create(apps[-1])
    except Exception:
        return False
    settings.INSTALLED_APPS = apps
    return True


def _import(names: list[str], roots: list[Path]) -> Iterator[ModuleType]:
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            inside = file.relative_to(root).with_suffix("").parts
            if SKIPPED & set(inside) or "async " not in file.read_text(errors="replace"):
                continue
            name = ".".join([root.name, *(inside[:-1] if inside[-1] == "__init__" else inside)])
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    importlib.import_module(name)
            except BaseException as error:
                print(f"can't import {name}: {type(error).__name__}: {str(error)[:80]}", file=sys.stderr)
    folders = tuple(f"{root}/" for root in roots)
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str) and file.startswith(folders) and file.endswith(".py"):
            yield module


def _count(module: ModuleType) -> int:
    try:
        tree = ast.parse(Path(str(module.__file__)).read_text())
    except (OSError, SyntaxError, ValueError):
        return 0
    return sum(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree))


def _short(file: str) -> str:
    return file.rpartition("site-packages/")[2]


if __name__ == "__main__":
    main()
