"""Several servers in turn, round after round, and each one's ratio to the first within a round."""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

import environment
from errors import BenchmarkError
from load import CONNECTIONS, outcome, what_is_wrong, wrk
from processes import Cores
from servers import Conditions, Server, running


def parser(text: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--rounds", type=int, default=5, help="rounds over all servers (5)")
    made.add_argument("--seconds", type=float, default=3.0, help="seconds of each measurement (3)")
    return made


def compare(
    servers: Mapping[Server, str], paths: Sequence[tuple[str, str]], rounds: int, seconds: float, file: str = ""
) -> dict[tuple[str, str], list[float]]:
    """Requests per second of each round, by name of the server and of the path.

    ``servers``: each with its settings module; ``paths``: names, and the paths asked for; ``file``: BENCH_FILE.
    """
    found: dict[tuple[str, str], list[float]] = {(each.name, name): [] for each in servers for name, _ in paths}
    for _ in range(rounds):
        for server, settings in servers.items():
            conditions = Conditions(environment.ROOT, Cores.choose(), file=file, settings=settings)
            with running(server, conditions, paths[0][1]) as started:
                for name, path in paths:
                    core = conditions.cores.client
                    outcome(wrk(started.port, path, CONNECTIONS, 1, core), 1)  # warm
                    row = outcome(wrk(started.port, path, CONNECTIONS, seconds, core), seconds)
                    if failure := what_is_wrong(row):
                        raise BenchmarkError(f"{server.title}, {path}: {failure}")
                    found[server.name, name].append(row["requests_per_second"])
                    print(f"{server.title:32} {name:16} {row['requests_per_second']:10,.0f}/s", flush=True)
    return found


def show(servers: Sequence[Server], found: Mapping[tuple[str, str], list[float]]) -> None:
    """The medians, and the medians of the ratios to the first server."""
    first = servers[0]
    print()
    for (name, what), values in found.items():
        title = next(each.title for each in servers if each.name == name)
        ratios = [value / other for value, other in zip(values, found[first.name, what], strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{title:32} {what:16} {statistics.median(values):10,.0f}/s {statistics.median(ratios):6.2f} ({spread})")


def run(main: Callable[[], None]) -> int:
    try:
        environment.prepare()
        environment.require("wrk", "wrk")
        main()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
