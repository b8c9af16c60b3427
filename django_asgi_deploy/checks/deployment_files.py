"""The files that start the site in production, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.server import cpus

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
MANIFEST = YAML = re.compile(r".+\.ya?ml")
# In YAML, a command whose words stand in the lines below it; and what is added to one.
COMMAND = re.compile(
    r"(\s*)(?:- )?(?:command|entrypoint|args|startCommand|run_command)\s*:\s*(?:[>|][+-]?)?\s*(?:#.*)?"
)
ARGUMENTS = re.compile(r"(\s*)(?:- )?args\s*:.*")
DEVELOPMENT = re.compile(r"(^|[._-])(dev|devel|development|local|test|tests|ci|override)([._-]|$)", re.IGNORECASE)
WORKERS = re.compile(
    r"""(--workers|\s-w|WEB_CONCURRENCY|ASGI_DEPLOY_WORKERS|^\s*workers|^\s*processes)["']?[\s=:,]+["']?(\d{1,3}|auto)\b"""
)
BIGGEST_BYTES = 256 * 1024


@dataclass(frozen=True)
class Line:
    """A line of such a file; continued lines are one, at the number of the first.

    ``parts``: where in the text others are added that have numbers of their own.
    """

    file: Path
    number: int
    text: str
    parts: tuple[tuple[int, int], ...] = ()  # offset and number

    def place(self, match: re.Match[str] | None = None) -> Place:
        found = len(match[0].lstrip(" \t")) if match else 0
        start = match.end() - found if match else 0
        number = next((number for offset, number in reversed(self.parts) if offset <= start), None)
        if number:
            return Place(relative(self.file), number)
        return Place(relative(self.file), self.number, column=match.start() if match else None)

    def with_words(self, words: str, number: int) -> "Line":
        """Those of another line, behind its own."""
        part = (len(self.text) + 1, number)
        return replace(self, text=f"{self.text} {words}", parts=(*self.parts, part))


def lines(root: Path) -> Iterator[Line]:
    """The lines of all files that are meant for production, without comments."""
    for file in _files(root):
        if DEVELOPMENT.search(file.name) or file.stat().st_size > BIGGEST_BYTES:
            continue
        lines_of_file = _joined(file)
        yield from _one_command_a_line(lines_of_file) if YAML.fullmatch(file.name) else lines_of_file


def workers(root: Path) -> int:
    """The largest number of worker processes that a file asks for; 1 if none does."""
    asked = [match[2] for line in lines(root) if (match := WORKERS.search(line.text))]
    return max((automatic_workers() if text == "auto" else int(text) for text in asked), default=1)


def automatic_workers() -> int:
    """What "auto" may come to where the site is deployed: more than one, even if this machine has one CPU."""
    return max(2, cpus.count()[0])


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


def _one_command_a_line(lines_of_file: Iterator[Line]) -> Iterator[Line]:
    """With the words that stand below ``command:``, and with ``args:`` behind it."""
    joined: list[Line] = []
    inside: int | None = None  # how far the key is indented whose words come
    for line in lines_of_file:
        indent = len(line.text) - len(line.text.lstrip())
        word = line.text.strip()
        if inside is not None and (indent > inside or (indent == inside and word.startswith("- "))):
            joined[-1] = joined[-1].with_words(word.removeprefix("- "), line.number)
            continue
        inside = indent if COMMAND.fullmatch(line.text) else None
        if joined and ARGUMENTS.fullmatch(line.text) and "command" in joined[-1].text:
            joined[-1] = joined[-1].with_words(word.removeprefix("args:").strip(), line.number)
        else:
            joined.append(line)
    yield from joined
