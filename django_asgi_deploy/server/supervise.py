"""The supervisor's program, executed by its path: perhaps only ``manage.py`` knows where the package is."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from django_asgi_deploy.server.supervisor import main

    raise SystemExit(main())
