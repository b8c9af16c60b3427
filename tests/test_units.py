"""``manage.py makeasgi systemd``: the units, as text and as systemd itself takes them."""

import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from django_asgi_deploy.deployment.systemd import Deployment, units
from tests.programs import require_program
from tests.utils import Site, run_to_end

ROOT = Path(__file__).parent.parent
MYSITE = {
    "name": "mysite",
    "settings_module": "mysite.settings",
    "folder": Path("/srv/mysite"),
    "python": Path("/srv/mysite/.venv/bin/python"),
    "user": "mysite",
    "bind": None,
    "budget_seconds": 30,
    "has_supervisor": False,
}


def made(**changes: object) -> dict[str, str]:
    return units(Deployment(**{**MYSITE, **changes}))  # type: ignore[arg-type]


def makeasgi(site: Site, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run_to_end([sys.executable, "manage.py", "makeasgi", "systemd", *arguments], site.folder, environment)


def test_the_documentation_shows_the_units_as_they_are_made() -> None:
    page = (ROOT / "docs/systemd.rst").read_text()
    blocks = page.split(".. code-block:: ini\n\n")[1:]
    for (name, text), block in zip(made().items(), blocks, strict=True):
        lines = [line.removeprefix("   ") for line in block.splitlines()]
        shown = "\n".join(lines[: lines.index(next(line for line in lines if line.startswith("``")))])
        assert shown.strip() == f"# /etc/systemd/system/{name}\n{text}".strip()


def test_without_an_address_of_its_own_the_project_gets_a_socket() -> None:
    assert set(made()) == {"mysite.service", "mysite.socket"}
    assert "RuntimeDirectory" not in made()["mysite.service"]


def test_with_a_unix_socket_of_its_own_it_gets_the_folder_for_it() -> None:
    both = made(bind=["unix:/run/mysite/asgi.sock", "127.0.0.1:8000"])
    assert set(both) == {"mysite.service"}
    assert "\nRuntimeDirectory=mysite\n" in both["mysite.service"]
    assert "mysite.socket" not in both["mysite.service"]


def test_the_time_to_stop_is_longer_than_requests_may_take() -> None:
    assert "\nTimeoutStopSec=125\n" in made(budget_seconds=120)["mysite.service"]


def test_only_a_supervisor_can_reload() -> None:
    assert "ExecReload" not in made()["mysite.service"]
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in made(has_supervisor=True)["mysite.service"]


def test_percent_signs_and_spaces_in_paths_are_what_they_are() -> None:
    service = made(folder=Path("/srv/100% mine"), python=Path("/srv/100% mine/$venv/python"))["mysite.service"]
    assert "\nWorkingDirectory=/srv/100%% mine\n" in service
    assert '\nExecStart="/srv/100%% mine/$$venv/python" -m django_asgi_deploy runasgi\n' in service


def test_the_command_shows_them_and_writes_them_where_it_is_told(site: Site, tmp_path: Path) -> None:
    shown = makeasgi(site)
    assert shown.returncode == 0
    assert shown.stdout.startswith("# /etc/systemd/system/mysite.service\n[Unit]")
    assert f"\nUser={getpass.getuser()}\nWorkingDirectory={site.folder}\n" in shown.stdout
    folder = tmp_path / "units"
    assert makeasgi(site, "--output", str(folder)).returncode == 0
    assert {file.name for file in folder.iterdir()} == {"mysite.service", "mysite.socket"}
    assert "is there already" in makeasgi(site, "--output", str(folder)).stdout


def test_a_unit_that_is_there_and_differs_is_left_alone(site: Site, tmp_path: Path) -> None:
    mine = tmp_path / "mysite.service"
    mine.write_text("[Service]\nExecStart=/bin/true\n")
    refused = makeasgi(site, "--output", str(tmp_path))
    assert refused.returncode == 1
    assert "mysite.service is there and differs; it is left as it is." in refused.stderr
    assert mine.read_text() == "[Service]\nExecStart=/bin/true\n"
    assert "-ExecStart=/bin/true" in makeasgi(site, "--output", str(tmp_path), "--diff", "--force").stdout
    assert makeasgi(site, "--output", str(tmp_path), "--force").returncode == 0
    assert "Type=notify" in mine.read_text()


@pytest.mark.real
@pytest.mark.parametrize("bind", [None, ["unix:/run/mysite/asgi.sock"]])
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path, bind: list[str] | None) -> None:
    program = require_program("systemd-analyze")
    texts = made(bind=bind, python=Path(sys.executable), user=getpass.getuser(), folder=tmp_path, has_supervisor=True)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    command = [program, "verify", "--man=no", *(str(tmp_path / name) for name in texts)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    about_ours = [line for line in result.stderr.splitlines() if "mysite" in line]
    assert about_ours == []
    assert result.returncode == 0, result.stderr
