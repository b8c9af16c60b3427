#!/usr/bin/env python3
"""How many machine instructions a request takes in our process: ``python benchmarks/instructions.py``.

Other load on the machine stretches seconds, and through the caches processor time, too; this count it changes by two or
three percent, because threads then wait for each other in another order. The kernel's share isn't in it, nor a
server's. Needs valgrind and PostgreSQL's programs. One or two minutes for each checkout and workload.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import environment
import postgres
import servers
from errors import BenchmarkError
from load import CONN_MAX_AGE, WORKLOADS
from processes import Cores

FEW, MANY = 50, 350  # requests; what is more in the second run is theirs
COUNT = re.compile(r"I\s+refs:\s+([\d,]+)")


def instructions(path: str, requests: int, conditions: servers.Conditions) -> int:
    valgrind = [environment.require("valgrind", "valgrind"), "--tool=cachegrind", "--cache-sim=no"]
    output = drive([*valgrind, f"--cachegrind-out-file={os.devnull}"], path, requests, conditions)
    found = COUNT.search(output)
    if found is None:
        raise BenchmarkError(f"{path} under valgrind: {output.strip()[-200:]}")
    return int(found[1].replace(",", ""))


def drive(below: list[str], path: str, requests: int, conditions: servers.Conditions) -> str:
    done = subprocess.run(
        [*below, str(environment.PYTHON), "-m", "benchsite.driven", path, str(requests)],
        cwd=servers.SITE,
        env=conditions.environment(is_ours=True) | {"PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{path}: {done.stderr.strip()[-200:]}")
    return done.stderr


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0].replace("`", ""))
    parser.add_argument("packages", nargs="*", type=Path, help="checkouts to take django_asgi_deploy from (this one)")
    parser.add_argument("--workloads", default="sync,async,sync-query,async-query", help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        if unknown := set(options.workloads.split(",")) - WORKLOADS.keys():
            raise BenchmarkError(f"{', '.join(unknown)}: expected some of {', '.join(WORKLOADS)}")
        environment.prepare()
        measure([WORKLOADS[name] for name in options.workloads.split(",")], options.packages or [environment.ROOT])
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure(workloads: list, packages: list[Path]) -> None:
    cores = Cores.choose()
    with postgres.running(cores.database) as database:
        for workload in workloads:
            first = 0.0
            for package in packages:
                conditions = servers.Conditions(
                    package.resolve(), cores, str(database.folder), settings=workload.settings, max_age=CONN_MAX_AGE
                )
                servers.migrate(conditions)
                drive([], workload.path, FEW, conditions)  # compiles the modules
                few, many = (instructions(workload.path, requests, conditions) for requests in (FEW, MANY))
                each = (many - few) / (MANY - FEW) / 1000
                first = first or each
                print(f"{workload.title:24} {each:8,.0f} thousand {each / first:6.3f}  {package}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
