"""The project's ``asgi.py``: where it is, and what ``makeasgi asgi`` makes of it."""

import difflib
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from django_asgi_deploy import importer
from django_asgi_deploy.deployment.convert import NotUnderstoodError, converted
from django_asgi_deploy.deployment.render import render
from django_asgi_deploy.exceptions import ASGIDeployError, ExitStatus


class RefusedError(ASGIDeployError):
    """The file is left alone."""

    status = ExitStatus.TEMPORARY


@dataclass(frozen=True)
class Plan:
    """What a file has now, None if it isn't there, and what it will have."""

    file: Path
    old: bytes | None
    new: bytes
    outcome: str  # completes the sentence that begins with the file's name

    @property
    def is_needed(self) -> bool:
        return self.old != self.new

    def diff(self) -> str:
        """The change as ``patch`` takes it; undecodable bytes are shown as escapes."""
        old, new = ((text or b"").decode(errors="backslashreplace").splitlines(True) for text in (self.old, self.new))
        before = "/dev/null" if self.old is None else str(self.file)
        lines = difflib.unified_diff(old, new, before, str(self.file))
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def carry_out(self) -> None:
        """Write the file. Raises RefusedError if that can't be done."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(self.new)
        except OSError as error:
            raise RefusedError(f"{self.file} can't be written: {error.strerror}.") from None


def plan(file: Path, settings_module: str, *, force: bool) -> Plan:
    """``file`` made from our template, or converted if it is there. Raises RefusedError if it isn't understood.

    ``force``: what isn't understood is replaced by the template.
    """
    fresh = render("asgi.py", project_name=settings_module.partition(".")[0], settings_module=settings_module).encode()
    try:
        old = file.read_bytes()
    except FileNotFoundError:
        return Plan(file, None, fresh, f"is written, for the settings {settings_module}.")
    except OSError as error:
        raise RefusedError(f"{file} can't be read: {error.strerror}.") from None
    try:
        new = converted(old)
    except NotUnderstoodError as reason:
        if force:
            return Plan(file, old, fresh, f"is replaced, for the settings {settings_module}.")
        raise RefusedError(
            f"{file} is left as it is, because {reason}. Change it by hand: from django_asgi_deploy.asgi import "
            "get_asgi_application. Or replace it, and lose what is in it: makeasgi asgi --force"
        ) from None
    if new == old:
        return Plan(file, old, new, "is ours already: nothing to do.")
    return Plan(file, old, new, "is converted: its import is ours now, the rest is as it was.")


def find_file(settings_module: str, asgi_application: str | None, root_urlconf: str | None) -> Path:
    """The module that holds the project's application; where there is none, ``asgi.py`` beside the settings."""
    found = importer.find_application(None, asgi_application, root_urlconf, settings_module)
    if found and (file := _file_of(importer.module_of(found.name))):
        return file
    settings = _file_of(settings_module)
    if settings is None:
        raise RefusedError(f"{settings_module} is no file, so there is no place beside it. Say: makeasgi asgi --output")
    folder = settings.parent
    package, urls = settings_module.rpartition(".")[0], (root_urlconf or "").rpartition(".")[0]
    if settings.name == "__init__.py":  # mysite/settings/__init__.py: beside the package
        folder = folder.parent
    elif urls and package.startswith(f"{urls}."):  # mysite/settings/production.py: beside mysite/urls.py
        folder = folder.parents[package.removeprefix(urls).count(".") - 1]
    return folder / "asgi.py"


def _file_of(module: str) -> Path | None:
    try:
        spec = util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None
