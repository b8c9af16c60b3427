#!/usr/bin/env python3
"""Measure django-asgi-deploy, Django's own handler and other servers on one site: ``python benchmarks/run.py``.

Needs Linux, Python >= 3.11 with venv and pip, wrk, and PostgreSQL's programs; nothing has to be running. Makes
.venv-bench, which may be deleted. Writes results.json, results.rst and chart.svg.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import chart
import environment
import limit
import load
import memory
import mixed
import postgres
import processes
import report
import servers
from errors import BenchmarkError

RESULTS = environment.HERE / "results"
FILE_MIB = 300
EXTRAS = ("limit", "mixed", "memory")
MIXED_ROUNDS = 3  # at most: each is long


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.report:
            data = json.loads(options.report.read_text(encoding="utf-8"))
            _write(data, options.out or options.report.parent, raw=False)
        else:
            data = _measure(options)
            _write(data, options.out or (RESULTS / "quick" if options.quick else RESULTS), raw=True)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0].replace("`", ""))
    parser.add_argument("--rounds", type=_positive(int), help="rounds over all servers (5; quick: 1)")
    parser.add_argument("--seconds", type=_positive(float), help="seconds of each measurement (3; quick: 1)")
    parser.add_argument("--servers", type=_names(servers.NAMES), help=f"some of {','.join(servers.NAMES)}")
    known = [*load.WORKLOADS, *EXTRAS]
    parser.add_argument("--workloads", type=_names(known), default=known, help=f"some of {','.join(known)}")
    parser.add_argument("--quick", action="store_true", help="a look in under three minutes: three servers, one round")
    parser.add_argument("--ours", choices=list(servers.OURS), default="runasgi", help="how ours is run (runasgi)")
    parser.add_argument(
        "--package", type=Path, default=environment.ROOT, help="another checkout to take django_asgi_deploy from"
    )
    parser.add_argument("--out", type=Path, help="folder for the results (benchmarks/results; quick: its quick/)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="only render this results.json again")
    return parser


def _positive(kind: type) -> Any:
    def convert(text: str) -> Any:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: expected more than 0")
        return value

    return convert


def _names(known: list[str]) -> Any:
    def convert(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
        return names

    return convert


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    environment.require("wrk", "wrk")
    postgres.find_programs()
    environment.prepare()
    cores = processes.Cores.choose()
    names = options.servers or (["ours", "stock", "granian-wsgi"] if options.quick else servers.NAMES)
    compared = servers.chosen(names, options.ours)
    with tempfile.TemporaryDirectory(prefix="bench-file-") as folder, postgres.running(cores.database) as database:
        conditions = servers.Conditions(
            package=options.package.resolve(),
            cores=cores,
            database=str(database.folder),
            file=str(_make_file(Path(folder))),
        )
        servers.migrate(conditions)
        return Run(options, compared, conditions, database).everything()


def _make_file(folder: Path) -> Path:
    file = folder / "large"
    with file.open("wb") as opened:
        for _ in range(FILE_MIB):
            opened.write(bytes(memory.MIB))
    return file


class Run:
    """One run: what is measured in which order, and all that was found."""

    def __init__(
        self,
        options: argparse.Namespace,
        compared: list[servers.Server],
        conditions: servers.Conditions,
        database: postgres.Postgres,
    ) -> None:
        self.rounds = options.rounds or (1 if options.quick else 5)
        self.seconds = options.seconds or (1.0 if options.quick else 3.0)
        self.wanted = options.workloads
        self.ours = options.ours
        self.servers = [server for server in compared if server.is_installed]
        self.missing = [server for server in compared if not server.is_installed]
        self.conditions = conditions
        self.database = database
        self.data = self._head()

    def _head(self) -> dict[str, Any]:
        titles = {each.name: each.title for each in [*self.servers, *load.WORKLOADS.values()]}
        return {
            "format": 1,
            "taken": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "settings": {
                "rounds": self.rounds,
                "seconds": self.seconds,
                "connections": load.CONNECTIONS,
                "ours": self.ours,
            },
            "machine": environment.machine(),
            "versions": environment.versions(),
            "commit": environment.commit(self.conditions.package),
            "titles": titles,
            "order": {"servers": [each.name for each in self.servers], "workloads": list(load.WORKLOADS)},
            "skipped": {each.name: f"{each.command[0]} isn't installed" for each in self.missing},
            "load": [],
            "limit": [],
            "mixed": [],
            "memory": [],
        }

    def everything(self) -> dict[str, Any]:
        beginning = time.monotonic()
        for number in range(self.rounds):
            self._round(number)
        if "memory" in self.wanted:
            for server in self._ours_and_stock():
                self._say(f"memory: {server.name}")
                found = memory.measure_memory(server, self.conditions, self.database, memory.STREAMS)
                self.data["memory"].append(found)
        self.data["settings"]["minutes"] = round((time.monotonic() - beginning) / 60, 1)
        return self.data

    def _round(self, number: int) -> None:
        for name in self.wanted:
            if workload := load.WORKLOADS.get(name):
                for server in self._in_turn(number):
                    self._add("load", number, load.measure(server, workload, self.conditions, self.seconds))
        if "limit" in self.wanted:
            self._add("limit", number, limit.measure_limit(self.conditions, self.seconds))
        if "mixed" in self.wanted and number < MIXED_ROUNDS:
            for server in self._ours_and_stock():
                for connections in (1, load.CONNECTIONS):
                    row = mixed.measure_mixed(server, self.conditions, self.seconds, connections, servers.THREADS)
                    self._add("mixed", number, row)

    def _in_turn(self, number: int) -> Iterator[servers.Server]:
        """Each round begins with another server: what comes first or last isn't always the same one."""
        for index in range(len(self.servers)):
            yield self.servers[(index + number) % len(self.servers)]

    def _ours_and_stock(self) -> list[servers.Server]:
        return [server for server in self.servers if server.name in ("ours", "stock")]

    def _add(self, table: str, number: int, row: dict[str, Any]) -> None:
        self.data[table].append({"round": number + 1, **row})
        what = " ".join(str(row[key]) for key in ("workload", "server", "connections") if key in row)
        figures = row.get("failure") or f"{row.get('requests_per_second', ''):} requests/s".strip()
        self._say(f"round {number + 1}, {table} {what}: {figures if table != 'mixed' else row.get('failure', 'done')}")

    @staticmethod
    def _say(text: str) -> None:
        print(text, flush=True)


def _write(data: dict[str, Any], folder: Path, raw: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = report.render(data)
    (folder / "results.rst").write_text(text, encoding="utf-8")
    (folder / "chart.svg").write_text(chart.render(data), encoding="utf-8")
    if raw:
        (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"\n{text}\nWritten to {folder}.")


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # so that every finally runs, and no server stays behind


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    sys.exit(main(sys.argv[1:]))
