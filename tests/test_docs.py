"""What README.rst, CHANGELOG.rst and docs/ say is true."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.commands import runserver
from uvicorn.main import main as uvicorn_command

from django_asgi_deploy import __version__
from django_asgi_deploy.conf import OPTIONS
from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, clean_environment, run_server, run_to_end

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]
NEEDS_FILES = "--ssl-certfile cert.pem"  # in a command: it needs what another command of the page makes


def test_the_settings_reference_is_what_the_code_declares() -> None:
    """If not, run ``python scripts/reference.py``."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("key", OPTIONS)
def test_every_setting_is_in_the_readme(key: str) -> None:
    assert f"   * - ``{key}``\n" in README


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    first = re.search(r"^(\d+\.\d+\S*)( \(unreleased\))?\n-+\n", changelog, re.MULTILINE)
    assert first is not None
    assert first[1] == __version__


# ------------------------------------------------------------------ coming from another server


def section(title: str) -> str:
    """The part of the README under a heading, up to the next heading."""
    start = re.search(rf"^{title}\n~+\n", README, re.MULTILINE)
    assert start is not None
    return re.split(r"^.+\n(?:~~~+|---+)\n", README[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_flag_of_uvicorn_is_mapped() -> None:
    flags = {flag for parameter in uvicorn_command.params for flag in parameter.opts if flag.startswith("--")}
    mapped = section("From uvicorn")
    assert [flag for flag in sorted(flags) if f"``{flag}``" not in mapped] == []


def test_every_flag_of_runserver_is_mapped() -> None:
    parser = runserver.Command().create_parser("manage.py", "runserver")
    flags = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    hidden_or_for_all = {"--help", "--verbosity", "--traceback"}
    mapped = section("From runserver")
    assert [flag for flag in sorted(flags - hidden_or_for_all) if f"{flag}``" not in mapped] == []


# ------------------------------------------------------------------ the examples


class Example:
    """A command in a console example, and the output shown for it."""

    def __init__(self, page: Path, command: str, output: list[str]) -> None:
        command, _, self.condition = command.partition("  # ")
        words = shlex.split(command)
        if "|" in words:
            words = ["sh", "-c", command]
        count = next(number for number, word in enumerate(words) if "=" not in word)  # assignments come first
        self.page = page
        self.environment = dict(word.split("=", 1) for word in words[:count])
        self.words = words[count:]
        self.output = output
        self.id = f"{page.stem}: {command}"

    @property
    def serves(self) -> bool:
        return any(line.startswith("Serving ") for line in self.output)


def examples() -> Iterator[Example]:
    """Every command of ours for which an output is shown."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^ *\.\. code-block:: console\n\n((?: *\n| +.*\n)+)", text, re.MULTILINE):
            lines = _indented_alike(block)
            for part in re.split(r"^\$ ", "\n".join(lines), flags=re.MULTILINE)[1:]:
                command, *output = part.rstrip().split("\n")
                if output and "runasgi" in command and NEEDS_FILES not in command:
                    yield Example(page, command, output)


def _indented_alike(block: str) -> list[str]:
    """The lines of a block, up to the first that is indented less: the text after it, in a list item."""
    first = re.match(r"\n*( +)", block)
    assert first is not None
    lines = []
    for line in block.splitlines():
        if line.strip() and not line.startswith(first[1]):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``startproject`` makes, with our entry in INSTALLED_APPS."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", folder], check=True)
    settings = folder / "mysite" / "settings.py"
    entry = 'INSTALLED_APPS = [\n    "django_asgi_deploy",\n'
    settings.write_text(settings.read_text().replace("INSTALLED_APPS = [\n", entry))
    production = "from mysite.settings import *\nDEBUG = False\nALLOWED_HOSTS = []\n"
    (folder / "mysite" / "production.py").write_text(production)
    return folder


@pytest.mark.parametrize("example", [pytest.param(each, id=each.id) for each in examples()])
def test_an_example_prints_what_the_page_shows(project: Path, example: Example) -> None:
    command = [sys.executable if word == "python" else word for word in example.words]
    environment = example.environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if example.condition:
        assert example.condition == "with DEBUG = False and ALLOWED_HOSTS = []"
        environment = environment | {"DJANGO_SETTINGS_MODULE": "mysite.production"}
    if example.serves:
        environment = environment | {"ASGI_DEPLOY_BIND": "127.0.0.1:0"}  # instead of the default, which may be taken
        with run_server(command, project, environment) as server:
            server.wait_for("^Serving ")
            printed = server.lines[:]
    else:
        done = run_to_end(command, project, environment)
        printed = (done.stdout + done.stderr).splitlines()
    shown = example.output
    if "..." in shown:
        shown = shown[shown.index("...") + 1 :]
        printed = printed[-len(shown) :]
    assert list(map(_without_numbers, printed)) == list(map(_without_numbers, shown))


def _without_numbers(line: str) -> str:
    """Versions, pids and free ports differ."""
    return re.sub(r"\d+(\.\d+)*", "N", line)


# ------------------------------------------------------------------ the markup


@pytest.mark.real
@pytest.mark.parametrize("name", ["README.rst", "CHANGELOG.rst"])
def test_the_page_is_valid_without_sphinx(name: str) -> None:
    """As PyPI renders it."""
    require_package("docutils")
    done = run_to_end([sys.executable, "-m", "docutils", "--strict", str(ROOT / name), "/dev/null"], ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.real
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    require_package("sphinx")
    require_package("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=4 * DEADLINE_SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "index.html").exists()
