"""Finding things by name: the settings module, the application, any object by its import string."""

import ast
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_asgi_deploy.exceptions import ApplicationError, ASGIDeployError, ProjectError

VARIABLE = "DJANGO_SETTINGS_MODULE"


@dataclass(frozen=True)
class Found:
    """A name, and why it is this one: ``origin`` completes the sentence "from ..."."""

    name: str
    origin: str
    is_deliberate: bool = False  # chosen for this run, not somebody's default


# ------------------------------------------------------------------ import strings


def import_from_string(path: str, origin: str) -> Any:
    """The object at ``"package.module:attribute"`` or ``"package.module.attribute"``.

    ``origin`` says in messages where the path was given.
    Raises ApplicationError if nothing is there, ProjectError if the module raises while it is imported.
    """
    module_name, attributes = _split(path, origin)
    module = _import_module(module_name, path, origin)
    found: Any = module
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            names = [name for name in vars(module) if not name.startswith("_")]
            message = f"{path!r} ({origin}): module {module_name!r} has no {attributes!r}{_nearest(attribute, names)}"
            raise ApplicationError(message) from None
    return found


def module_of(path: str) -> str:
    """The module part of an import string."""
    return path.partition(":")[0] if ":" in path else path.rpartition(".")[0]


def _split(path: str, origin: str) -> tuple[str, str]:
    module_name, _, attributes = path.partition(":") if ":" in path else path.rpartition(".")
    if not (module_name and attributes) or any(c in path for c in "/\\ "):
        raise ApplicationError(
            f'{path!r} ({origin}): expected "package.module:attribute", as in "mysite.asgi:application".'
        )
    return module_name, attributes


def _import_module(name: str, path: str, origin: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_or_contains(error.name, name):
            raise _import_failed(name, origin, error) from error
        message = f"{path!r} ({origin}): there is no module {error.name!r}{_nearest(name, _neighbours(name))}"
        raise ApplicationError(message) from None
    except ASGIDeployError:
        raise  # its text is the whole message: a wrong option, found while asgi.py makes the application
    except Exception as error:
        raise _import_failed(name, origin, error) from error


def _import_failed(name: str, origin: str, error: BaseException) -> ProjectError:
    return ProjectError.from_exception(f"{name} ({origin}) can't be imported:", error)


def _is_or_contains(missing: str | None, name: str) -> bool:
    """Whether importing ``name`` failed because it, or a package it is in, isn't there."""
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _nearest(name: str, candidates: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(candidates), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _neighbours(name: str) -> Iterator[str]:
    """Module names that a misspelt one could have meant: what lies on sys.path and isn't installed."""
    for directory in {
        Path(entry or ".") for entry in sys.path if "site-packages" not in entry and "lib/python" not in entry
    }:
        for pattern in ("*.py", "*/*.py", "*/settings/*.py"):
            for file in directory.glob(pattern):
                yield ".".join(file.relative_to(directory).with_suffix("").parts)


# ------------------------------------------------------------------ the settings module


def find_settings_module(option: str | None = None, default: str | None = None) -> Found:
    """Which settings module is to be used, and who said so; nothing is imported.

    In order: ``option`` (``--settings``), the environment, ``default`` (what ``asgi.py`` gave to
    ``get_asgi_application``), the ``manage.py`` beside the project. Raises ProjectError if nobody says.
    """
    if option:
        return Found(option, "--settings", is_deliberate=True)
    if name := os.environ.get(VARIABLE):
        if was_exported(VARIABLE):
            return Found(name, f"{VARIABLE} in the environment", is_deliberate=True)
        return Found(name, _who_set_the_variable(name))
    if default:
        return Found(default, "the default in asgi.py")
    for manage in _manage_files():
        if name := declared_settings_module(manage):
            return Found(name, f"the default in {manage.name}")
    raise ProjectError(
        f"Which settings? {VARIABLE} isn't set, asgi.py gives no default, and there is no manage.py here "
        f"that does. Type: export {VARIABLE}=mysite.settings"
    )


def import_settings_module(found: Found) -> None:
    """Import the settings module, so that a mistake in it is one clear message. Raises ProjectError."""
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if not _is_or_contains(error.name, found.name):
            raise _import_failed(found.name, found.origin, error) from error
        nearest = _nearest(found.name, _neighbours(found.name))
        message = (
            f"The settings module {found.name!r} (from {found.origin}) can't be found: "
            f"there is no module {error.name!r}{nearest} "
            f"Type: export {VARIABLE}=mysite.settings, from the directory that holds manage.py."
        )
        raise ProjectError(message) from None
    except Exception as error:
        raise _import_failed(found.name, f"{VARIABLE}, from {found.origin}", error) from error


def declared_settings_module(file: Path) -> str | None:
    """The settings module that a ``manage.py`` or ``asgi.py`` names in its source, without running it.

    Knows ``os.environ.setdefault(VARIABLE, "...")``, ``os.environ[VARIABLE] = "..."`` and
    ``get_asgi_application("...")``.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if name := _declaration(node):
            return name
    return None


def _declaration(node: ast.AST) -> str | None:
    match node:
        case ast.Call(
            func=ast.Attribute(attr="setdefault"), args=[ast.Constant(value=key), ast.Constant(value=str(name))]
        ) if key == VARIABLE:
            return name
        case ast.Assign(
            targets=[ast.Subscript(slice=ast.Constant(value=key))], value=ast.Constant(value=str(name))
        ) if key == VARIABLE:
            return name
        case ast.Call(func=ast.Name(id="get_asgi_application") | ast.Attribute(attr="get_asgi_application")):
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords)]
            names = [each.value for each in given if isinstance(each, ast.Constant)]
            return next((each for each in names if isinstance(each, str)), None)
        case _:
            return None


def was_exported(variable: str) -> bool | None:
    """Whether the variable was in the environment when this process was started; None where that can't be known."""
    try:
        initial = Path("/proc/self/environ").read_bytes()
    except OSError:
        return None
    return any(entry.startswith(variable.encode() + b"=") for entry in initial.split(b"\0"))


def _who_set_the_variable(name: str) -> str:
    program = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    for file in (program, *_manage_files()):
        if file.is_file() and declared_settings_module(file) == name:
            return f"the default in {file.name}"
    return VARIABLE


def _manage_files() -> Iterator[Path]:
    for directory in dict.fromkeys(Path(entry or ".").resolve() for entry in ["", *sys.path]):
        if (file := directory / "manage.py").is_file():
            yield file


# ------------------------------------------------------------------ the application


def find_application(
    configured: Found | None, asgi_application: str | None, root_urlconf: str | None, settings_module: str
) -> Found | None:
    """Where the project's ASGI application is; None if the project has none.

    In order: what was ``configured`` (``--application``, ``ASGI_DEPLOY["APPLICATION"]``),
    ``settings.ASGI_APPLICATION``, then the module ``asgi`` beside the URLconf, beside the settings module, and in each
    package around them.
    """
    if configured:
        return configured
    if asgi_application:
        return Found(asgi_application, "settings.ASGI_APPLICATION")
    for module in dict.fromkeys(_asgi_modules(root_urlconf, settings_module)):
        if _exists(module):
            return Found(f"{module}:application", "found beside the project's settings and URLs")
    return None


def _asgi_modules(*modules: str | None) -> Iterator[str]:
    for module in filter(None, modules):
        package = module.rpartition(".")[0]
        yield f"{package}.asgi" if package else "asgi"
    for module in filter(None, modules):
        package = module.rpartition(".")[0].rpartition(".")[0]
        while package:
            yield f"{package}.asgi"
            package = package.rpartition(".")[0]


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # a package around it isn't one
