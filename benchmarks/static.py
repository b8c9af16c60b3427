#!/usr/bin/env python3
"""Collected static files from us, WhiteNoise, Granian and nginx: ``python benchmarks/static.py``.

Needs Linux, wrk and nginx. One process each; ratios are to nginx.
"""

import sys
import tempfile
from pathlib import Path

import environment
import inturn
from servers import Server

PATHS = [("2 KB", "/static/small.css"), ("100 KB", "/static/medium.js"), ("2 MB", "/static/large.bin")]
SIZES = {"small.css": 2_000, "medium.js": 100_000, "large.bin": 2_000_000}
SETTINGS = "benchsite.settings_static"
NGINX = """
user root;  # its own can't look into our folder; without effect unless root starts it
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    types {{ text/css css; text/javascript js; }}
    server {{
        listen 127.0.0.1:PORT;
        location /static/ {{ alias {files}/; }}
    }}
}}
"""
UVICORN = "uvicorn benchsite.stock:application --port {port} --no-access-log --log-level warning --lifespan off"
GRANIAN = "granian --port {port} --workers 1 --no-ws --log-level warning --interface"


def servers(folder: Path, files: Path) -> list[Server]:
    nginx = environment.require("nginx", "nginx")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, files=files))
    # Only servers.running() knows the port.
    configure = f"sed s/PORT/{{port}}/ {folder}/nginx.conf >{folder}/with-port.conf"
    start = f"{configure} && exec {nginx} -p {folder} -e stderr -c {folder}/with-port.conf"
    return [
        Server("nginx", "nginx", ("/bin/sh", "-c", start)),
        Server("ours", "django-asgi-deploy", ("python", "manage.py", "runasgi", "127.0.0.1:{port}"), is_ours=True),
        Server("whitenoise-asgi", "WhiteNoise, uvicorn", tuple(UVICORN.split())),
        Server(
            "whitenoise-wsgi",
            "WhiteNoise, Granian WSGI",
            tuple(f"{GRANIAN} wsgi --blocking-threads 8 benchsite.wsgi:application".split()),
        ),
        Server(
            "granian",
            "Granian",
            tuple(
                f"{GRANIAN} asgi --static-path-route /static --static-path-mount {files} "
                "benchsite.stock:application".split()
            ),
        ),
    ]


def main() -> None:
    options = inturn.parser(__doc__.partition("\n")[0].replace("`", "")).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-static-") as name:
        folder = Path(name)
        files = folder / "files"
        files.mkdir()
        for file, size in SIZES.items():
            (files / file).write_bytes((b"0123456789abcde\n" * (size // 16 + 1))[:size])
        found_servers = servers(folder, files)
        found = inturn.compare(
            dict.fromkeys(found_servers, SETTINGS), PATHS, options.rounds, options.seconds, file=str(files)
        )
        inturn.show(found_servers, found)


if __name__ == "__main__":
    sys.exit(inturn.run(main))
