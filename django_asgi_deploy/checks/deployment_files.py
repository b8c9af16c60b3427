"""The files that start the site in production, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django_asgi_deploy.checks.frames import Place, relative

# By name, in the project's root, the folder around it, and folders in it that are called like this.
NAMES = re.compile(
    r"Procfile(\..+)?|(.+\.)?(Dockerfile|Containerfile)(\..+)?|(docker-)?compose(\..+)?\.ya?ml|.+\.(service|socket)|"
    r"gunicorn[\w.-]*\.py|(entrypoint|start|run|serve|docker-entrypoint)[\w-]*\.sh|start|supervisord?[\w-]*\.(conf|ini)|"
    r"uwsgi[\w-]*\.ini|fly\.toml|app\.ya?ml|render\.ya?ml|railway\.(json|toml)|nixpacks\.toml|[\w-]*deployment[\w-]*\.ya?ml"
)
FOLDERS = (
    "deploy",
    "deployment",
    "docker",
    "compose",
    "systemd",
    "etc",
    "ops",
    "infra",
    "k8s",
    "config",
    "conf",
    "scripts",
)
# Whatever these are called, they are of a cluster.
MANIFESTS = ("k8s", "kubernetes", "helm", "manifests", "charts")
MANIFEST = re.compile(r".+\.ya?ml")
DEVELOPMENT = re.compile(r"(^|[._-])(dev|devel|development|local|test|tests|ci|override)([._-]|$)", re.IGNORECASE)
WORKERS = re.compile(
    r"""(--workers|\s-w|WEB_CONCURRENCY|ASGI_DEPLOY_WORKERS|^\s*workers|^\s*processes)["']?[\s=:,]+["']?(\d{1,3})\b"""
)
BIGGEST_BYTES = 256 * 1024


@dataclass(frozen=True)
class Line:
    """A line of such a file; continued lines are one, at the number of the first."""

    file: Path
    number: int
    text: str

    def place(self, match: re.Match[str] | None = None) -> Place:
        return Place(relative(self.file), self.number, column=match.start() if match else None)


def lines(root: Path) -> Iterator[Line]:
    """The lines of all files that are meant for production, without comments."""
    for file in _files(root):
        if DEVELOPMENT.search(file.name) or file.stat().st_size > BIGGEST_BYTES:
            continue
        yield from _joined(file)


def workers(root: Path) -> int:
    """The largest number of worker processes that a file asks for; 1 if none does."""
    asked = [int(match[2]) for line in lines(root) if (match := WORKERS.search(line.text))]
    return max(asked, default=1)


def _files(root: Path) -> Iterator[Path]:
    names = dict.fromkeys((*FOLDERS, *MANIFESTS))
    folders = [
        root,
        *(root / name for name in names),
        *(folder for name in names for folder in _below(root / name)),
    ]
    for folder in folders:
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir()):
            is_meant = NAMES.fullmatch(file.name) or (
                MANIFEST.fullmatch(file.name) and not _names_of(root, folder).isdisjoint(MANIFESTS)
            )
            if is_meant and file.is_file():
                yield file


def _names_of(root: Path, folder: Path) -> set[str]:
    return set(folder.relative_to(root).parts)


def _below(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def _joined(file: Path) -> Iterator[Line]:
    begun, number = "", 0
    for at, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = line.rstrip()
        if not begun:
            number = at
            if text.lstrip().startswith(("#", ";")):
                continue
        if text.endswith("\\"):
            begun += text[:-1]
            continue
        yield Line(file, number, begun + text)
        begun = ""
    if begun:
        yield Line(file, number, begun)
