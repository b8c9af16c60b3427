"""The virtual environment that everything runs in, and what a reader needs to know about machine and versions."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from errors import BenchmarkError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVIRONMENT = ROOT / ".venv-bench"
BIN = ENVIRONMENT / "bin"
PYTHON = BIN / "python"
REQUIREMENTS = HERE / "requirements.txt"
PEERS = HERE / "peers.txt"
STAMP = ENVIRONMENT / "benchmarks.stamp"

PACKAGES = [
    *["django", "asgiref", "uvicorn", "uvloop", "httptools", "psycopg"],
    *["granian", "gunicorn", "hypercorn", "daphne"],
]
VERSIONS_SCRIPT = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def prepare() -> None:
    """Make .venv-bench, or use the one that was made for the same Python and the same pins."""
    stamp = _stamp()
    if STAMP.exists() and STAMP.read_text() == stamp and PYTHON.exists():
        return
    print(f"Setting up {ENVIRONMENT.name} ...", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    if not _pip("--requirement", str(REQUIREMENTS), "--editable", str(ROOT)):
        raise BenchmarkError(f"pip can't install {REQUIREMENTS.name} into {ENVIRONMENT.name}; see its output above.")
    for peer in PEERS.read_text().split():
        if not _pip(peer):
            print(f"{peer} can't be installed here; it is left out.", flush=True)
    STAMP.write_text(stamp)


def _stamp() -> str:
    pins = hashlib.sha256(REQUIREMENTS.read_bytes() + PEERS.read_bytes()).hexdigest()
    return f"{sys.version}\n{pins}\n"


def _pip(*what: str) -> bool:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *what]
    return subprocess.run(command, check=False).returncode == 0


def require(program: str, package: str) -> str:
    """The path of ``program``, which Debian has in ``package``."""
    if path := shutil.which(program):
        return path
    raise BenchmarkError(f"{program} is needed and isn't installed; on Debian: apt install {package}")


def clean_environment() -> dict[str, str]:
    """os.environ without what would reach into a server under test."""
    foreign = ("ASGI_DEPLOY_", "BENCH_", "DJANGO_", "GRANIAN_", "GUNICORN_", "PG", "PYTHON", "UVICORN_")
    names = {"PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign) and name not in names}


def versions() -> dict[str, str]:
    command = [str(PYTHON), "-c", VERSIONS_SCRIPT, *PACKAGES]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, env=clean_environment()).stdout)
    # wrk tells its version on the way to an error message.
    wrk = subprocess.run(["wrk", "--version"], check=False, capture_output=True, text=True).stdout.split()
    return {**found, "wrk": wrk[1] if len(wrk) > 1 else "unknown"}


def machine() -> dict[str, Any]:
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _field(file: str, name: str) -> str | None:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def commit(folder: Path) -> str:
    """The commit of a checkout, or "unknown"; "+" says that files differ from it."""
    try:
        git = ["git", "-C", str(folder)]
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "django_asgi_deploy"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
