"""The limit: what a synchronous request costs if handler and hand-off to a thread cost nothing."""

import json
import subprocess
from statistics import median
from typing import Any

from environment import PYTHON
from errors import BenchmarkError
from load import WORKLOADS, measure
from processes import pinned
from servers import RAW, SITE, Conditions


def measure_limit(conditions: Conditions, seconds: float) -> dict[str, Any]:
    """A raw ASGI application on uvicorn, and Django's synchronous chain in process, one right after the other."""
    raw = measure(RAW, WORKLOADS["sync"], conditions, seconds)
    if failure := raw.get("failure"):
        return {"failure": f"raw ASGI application: {failure}"}
    chain = _chain_microseconds(conditions, seconds)
    return {
        "raw_requests_per_second": raw["requests_per_second"],
        "chain_us": round(chain["clock"], 1),
        "requests_per_second": round(1e6 / (1e6 / raw["requests_per_second"] + chain["clock"]), 1),
        "cpu_us": round(raw["cpu_us"] + chain["cpu"], 1),
    }


def _chain_microseconds(conditions: Conditions, seconds: float) -> dict[str, float]:
    """Medians, by the clock and of processor time."""
    with pinned(conditions.cores.server):
        done = subprocess.run(
            [str(PYTHON), "-m", "benchsite.chain", str(seconds)],
            cwd=SITE,
            env=conditions.environment(is_ours=False),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    if done.returncode:
        raise BenchmarkError(f"Django's chain in process failed: {done.stderr.strip().splitlines()[-1]}")
    return {kind: median(batches) for kind, batches in json.loads(done.stdout).items()}
