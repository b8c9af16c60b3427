"""The README's first command, on a fresh copy of what git tracks."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import require_program
from tests.utils import run_server

ROOT = Path(__file__).parent.parent.parent
SETUP_SECONDS = 300  # an environment is made and filled from PyPI

pytestmark = pytest.mark.real


def test_one_command_sets_everything_up_and_serves_the_example_site(tmp_path: Path) -> None:
    git = require_program("git")
    tracked = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with run_server([sys.executable, "scripts/serve.py", "127.0.0.1:0"], tmp_path) as server:
        server.wait_for("^Serving", SETUP_SECONDS)
        assert b"Have a look around" in server.get("/")
        assert b"200 OK" in server.get("/notes/"), "it was migrated"
        assert server.stop(signal.SIGINT) == 0
