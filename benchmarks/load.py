"""The load: one server, one workload, one measurement by wrk."""

import json
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from environment import HERE
from errors import BenchmarkError
from processes import pinned
from servers import Conditions, Running, Server, running

CONNECTIONS = 32
TIMEOUT_SECONDS = 8  # wrk's default of 2 would call a slow server a broken one
CONN_MAX_AGE = 60


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    path: str
    body: bytes
    settings: str = "benchsite.settings"
    queries: bool = False


WORKLOADS = {
    each.name: each
    for each in [
        Workload("sync", "sync view", "/sync/", b"Hello"),
        Workload("async", "async view", "/async/", b"Hello"),
        Workload("sync-query", "sync view, one query", "/sync-query/", b"found: False", queries=True),
        Workload("async-query", "async view, one query", "/async-query/", b"found: False", queries=True),
        Workload("bare", "sync view, no middleware", "/sync/", b"Hello", settings="benchsite.settings_bare"),
    ]
}


def wrk(port: int, path: str, connections: int, seconds: float, core: int) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_SECONDS}s"]
    with pinned(core):
        return subprocess.Popen(
            [*command, f"--script={HERE / 'wrk.lua'}", f"http://127.0.0.1:{port}{path}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def outcome(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What wrk found, once it has ended."""
    try:
        output, _ = process.communicate(timeout=seconds + TIMEOUT_SECONDS + 5)
    except subprocess.TimeoutExpired:
        raise BenchmarkError("wrk did not end in time") from None
    finally:
        process.kill()  # nothing, if it has ended
        process.wait()
    lines = output.strip().splitlines()
    if process.returncode or not lines:
        raise BenchmarkError(f"wrk failed: {lines[-1] if lines else process.returncode}")
    return _in_milliseconds(json.loads(lines[-1]))


def _in_milliseconds(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "requests": found["requests"],
        "requests_per_second": round(found["requests"] / found["microseconds"] * 1e6, 1),
        "p50_ms": found["p50_us"] / 1000,
        "p99_ms": found["p99_us"] / 1000,
        "max_ms": found["max_us"] / 1000,
        "errors": {kind: count for kind, count in found["errors"].items() if count},
    }


def measure(server: Server, workload: Workload, conditions: Conditions, seconds: float) -> dict[str, Any]:
    """One cell of one round. Whatever is wrong is in "failure", beside the figures that there are."""
    conditions = conditions.with_settings(workload.settings)
    conditions = conditions.with_max_age(CONN_MAX_AGE if server.keeps_connections else 0)
    row: dict[str, Any] = {"server": server.name, "workload": workload.name}
    try:
        with running(server, conditions, workload.path) as started:
            try:
                check_answer(started, workload)
                core = conditions.cores.client
                outcome(wrk(started.port, workload.path, CONNECTIONS, 1, core), 1)  # warm
                row |= _measured(started, workload, seconds, core)
                check_answer(started, workload)
            finally:
                row["tracebacks"] = started.tracebacks()[:3]
    except BenchmarkError as error:
        row["failure"] = str(error)
    else:
        if failure := what_is_wrong(row):
            row["failure"] = failure
    return row


def _measured(started: Running, workload: Workload, seconds: float, core: int) -> dict[str, Any]:
    before, beginning = started.usage().cpu_seconds, time.monotonic()
    found = outcome(wrk(started.port, workload.path, CONNECTIONS, seconds, core), seconds)
    cpu = started.usage().cpu_seconds - before
    found["core_share"] = round(cpu / (time.monotonic() - beginning), 2)
    # Noise from other processes stretches the seconds, not the processor time.
    found["cpu_us"] = round(cpu / found["requests"] * 1e6, 1) if found["requests"] else None
    return found


def check_answer(started: Running, workload: Workload) -> None:
    try:
        status, body = started.get(workload.path)
    except (OSError, HTTPException) as error:
        raise BenchmarkError(f"no answer to a single request: {error!r}") from None
    if (status, body) != (200, workload.body):
        raise BenchmarkError(f"answered {status} {body[:80]!r} instead of 200 {workload.body!r}")


def what_is_wrong(found: dict[str, Any]) -> str | None:
    if found["errors"]:
        return ", ".join(f"{count} {kind} errors" for kind, count in found["errors"].items())
    return None if found["requests"] else "no request was answered"
