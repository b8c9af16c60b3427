"""Seven ways to serve one application, and what each of them makes of it: the table in docs/servers.rst.

``python -m tests.real.servers`` prints the table; tests/real/test_servers.py tests each cell.
"""

import sys

WORKS = "works"

# Name in the table: the command, with {port} and {root_path}. Each is given its own way to say root_path.
APPLICATION = "testproject.asgi:application"
ROOT_PATH = "/shop"
SERVERS: dict[str, tuple[str, str]] = {
    "runasgi": ("python manage.py runasgi 127.0.0.1:{port}", f"--root-path {ROOT_PATH}"),
    "uvicorn": (f"uvicorn {APPLICATION} --host 127.0.0.1 --port {{port}}", f"--root-path {ROOT_PATH}"),
    "daphne": (f"daphne -b 127.0.0.1 -p {{port}} {APPLICATION}", f"--root-path {ROOT_PATH}"),
    "hypercorn": (f"hypercorn --bind 127.0.0.1:{{port}} {APPLICATION}", f"--root-path {ROOT_PATH}"),
    "granian": (
        f"granian --interface asgi --host 127.0.0.1 --port {{port}} {APPLICATION}",
        f"--url-path-prefix {ROOT_PATH}",
    ),
    "gunicorn, asgi": (f"gunicorn -k asgi --bind 127.0.0.1:{{port}} {APPLICATION}", f"--root-path {ROOT_PATH}"),
    "gunicorn, uvicorn-worker": (
        f"gunicorn -k uvicorn_worker.UvicornWorker --bind 127.0.0.1:{{port}} {APPLICATION}",
        f"--root-path {ROOT_PATH}",
    ),
}

REMOVED = "if the proxy takes it away"

# What is looked at, and in whose case it isn't what it should be.
ROWS: dict[str, dict[str, str]] = {
    "A page: path, query, headers, client address": {},
    "A form, with CSRF": {},
    "An upload of 4 MiB": {},
    "Streaming, line by line": {},
    "Server-sent events": {},
    "A WebSocket: text, bytes, long messages": {},
    "A WebSocket refused: by its path, by its origin": {},
    "404": {},
    "500, and the next request": {},
    "Static files, and 304": {},
    "Redirects": {},
    "Several cookies": {},
    "HEAD": {},
    "The client leaves while a view waits": {},
    "The client leaves a stream": {},
    "Lifespan: start and end": {},
    "Lifespan state in each scope": {},
    "The server's own prefix, behind a proxy": {
        "uvicorn": REMOVED,
        "gunicorn, uvicorn-worker": "not possible: gunicorn's ``--root-path`` isn't handed on",
    },
    "Status 0 after SIGTERM": {"uvicorn": "ended by SIGTERM"},
}


def expected(row: str, server: str) -> str:
    return ROWS[row].get(server, WORKS)


def table() -> str:
    """The rows as a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    for row in (["What", *SERVERS], *([row, *(expected(row, server) for server in SERVERS)] for row in ROWS)):
        lines += [
            f"   {'- ' if number else '* - '}{cell}".replace("   - ", "     - ") for number, cell in enumerate(row)
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
