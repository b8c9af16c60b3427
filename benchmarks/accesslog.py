#!/usr/bin/env python3
"""What a line per request costs, as a ratio to none: ``python benchmarks/accesslog.py``.

Needs Linux and wrk. The lines go to a file, as they would to a journal. The aim: at least 0.90 with JSON.
"""

import sys

import inturn
from servers import Server

PATHS = [("sync view", "/sync/"), ("async view", "/async/")]
SETTINGS = "benchsite.settings_accesslog"


def server(name: str, title: str, options: str) -> Server:
    command = f"python manage.py runasgi 127.0.0.1:{{port}} {options}"
    return Server(name, title, tuple(command.split()), is_ours=True)


SERVERS = [
    server("off", "no access log", "--access-log off"),
    server("json", "JSON", "--access-log json"),
    server("text", "text", "--access-log text"),
    server("id", "request ids only", "--access-log off --request-id-header x-request-id"),
    server("metrics", "metrics only", "--access-log off --metrics-path /metrics"),
]


def main() -> None:
    options = inturn.parser(__doc__.partition("\n")[0].replace("`", "")).parse_args()
    found = inturn.compare(dict.fromkeys(SERVERS, SETTINGS), PATHS, options.rounds, options.seconds)
    inturn.show(SERVERS, found)


if __name__ == "__main__":
    sys.exit(inturn.run(main))
