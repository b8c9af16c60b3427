#!/usr/bin/env python3
"""How many threads are right, for three kinds of synchronous views: ``python benchmarks/threads.py``.

One worker on one core, several THREADS in turn, as ratios to the default of 8 within a round. Needs Linux, wrk and
PostgreSQL's programs. A view that only computes, one that makes a query, and one that waits for 50 milliseconds.
"""

import statistics
import sys

import environment
import inturn
import postgres
import servers
from errors import BenchmarkError
from load import CONN_MAX_AGE, CONNECTIONS, outcome, what_is_wrong, wrk
from processes import Cores

THREADS = (8, 1, 2, 4, 16, 32)  # the first is what the others are set against
PATHS = {"computes": "/sync/", "one query": "/sync-query/", "waits 50 ms": "/sync-sleep/"}

Found = dict[tuple[int, str], list[tuple[float, float]]]


def measure(threads: int, conditions: servers.Conditions, seconds: float, found: Found) -> None:
    command = f"python manage.py runasgi 127.0.0.1:{{port}} --threads {threads}"
    server = servers.Server(f"threads-{threads}", f"{threads} threads", tuple(command.split()), is_ours=True)
    core = conditions.cores.client
    with servers.running(server, conditions, "/sync/") as started:
        for name, path in PATHS.items():
            outcome(wrk(started.port, path, CONNECTIONS, 1, core), 1)  # warm
            row = outcome(wrk(started.port, path, CONNECTIONS, seconds, core), seconds)
            if failure := what_is_wrong(row):
                raise BenchmarkError(f"{server.title}, {path}: {failure}")
            found.setdefault((threads, name), []).append((row["requests_per_second"], row["p99_ms"]))


def main() -> None:
    options = inturn.parser(__doc__.partition("\n")[0].replace("`", "")).parse_args()
    cores = Cores.choose()
    found: Found = {}
    with postgres.running(cores.database) as database:
        conditions = servers.Conditions(environment.ROOT, cores, str(database.folder), max_age=CONN_MAX_AGE)
        servers.migrate(conditions)
        for _ in range(options.rounds):
            for threads in THREADS:
                measure(threads, conditions, options.seconds, found)
    print(f"{'THREADS':10}" + "".join(f"{name:>36}" for name in PATHS))
    for threads in sorted(THREADS):
        print(f"{threads:<10}" + "".join(f"{_cell(found, threads, name):>36}" for name in PATHS))


def _cell(found: Found, threads: int, name: str) -> str:
    mine, first = found[threads, name], found[THREADS[0], name]
    ratio = statistics.median(a / b for (a, _), (b, _) in zip(mine, first, strict=True))
    rate, p99 = (statistics.median(values) for values in zip(*mine, strict=True))
    return f"{rate:,.0f}/s  {ratio:.2f}  p99 {p99:.0f} ms"


if __name__ == "__main__":
    sys.exit(inturn.run(main))
