#!/usr/bin/env python3
"""Set everything up and serve testproject: ``python3 scripts/serve.py [arguments of runasgi]``.

Needs Python >= 3.11 with venv and pip, nothing else. Makes .venv-demo and testproject/db.sqlite3; both may be deleted.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-demo"


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python there is
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        print("Setting up .venv-demo ...", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--editable", ROOT], check=True)
    manage = [str(python), str(ROOT / "testproject" / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], check=True)
    os.execv(python, [*manage, "runasgi", *sys.argv[1:]])  # signals go to the server itself


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
