"""What is shipped."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "django_asgi_deploy"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built by the backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("dist")
    script = (
        "import sys; from hatchling.build import build_sdist, build_wheel; "
        "build_sdist(sys.argv[1]); build_wheel(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_every_file_of_the_package_py_typed_and_templates_included(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    expected = {
        file.relative_to(ROOT).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "django_asgi_deploy/py.typed" in expected
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= names
    others = {name.partition("/")[0] for name in names - expected}
    assert all(name.endswith(".dist-info") for name in others), others


def test_the_sdist_holds_what_the_tests_and_the_site_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tox.ini", "README.rst", "LICENSE", "tests/utils.py", "testproject/manage.py", "scripts/test.py"} <= names
    assert "django_asgi_deploy/py.typed" in names


def test_only_django_asgiref_and_uvicorn_are_hard_dependencies(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist")]
    hard = sorted(line for line in required if "extra ==" not in line)
    assert hard == ["asgiref>=3.13", "django>=5.2", "uvicorn[standard]>=0.54"]
    assert "Requires-Python: >=3.11" in lines


def test_the_version_can_be_imported_before_settings_exist() -> None:
    code = "import django_asgi_deploy, sys; print(django_asgi_deploy.__version__, 'django' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert shown[1] == "False"
