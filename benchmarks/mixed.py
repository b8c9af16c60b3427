"""Mixed load: does a pool full of sleeping sync views slow async views down?"""

import time
from typing import Any

from errors import BenchmarkError
from load import CONNECTIONS, WORKLOADS, outcome, what_is_wrong, wrk
from servers import Conditions, Server, running


def measure_mixed(
    server: Server, conditions: Conditions, seconds: float, connections: int, sleepers: int
) -> dict[str, Any]:
    """Async hello alone, then beside sync views that sleep, as many at once as the pool has threads."""
    row: dict[str, Any] = {"server": server.name, "connections": connections, "sleepers": sleepers}
    path = WORKLOADS["async"].path
    core = conditions.cores.client
    try:
        with running(server, conditions, path) as started:
            outcome(wrk(started.port, path, CONNECTIONS, 1, core), 1)  # warm
            row["alone"] = outcome(wrk(started.port, path, connections, seconds, core), seconds)
            beside = wrk(started.port, "/sync-sleep/", sleepers, seconds + 1, core)
            try:
                time.sleep(0.5)  # until all of them sleep
                row["beside"] = outcome(wrk(started.port, path, connections, seconds, core), seconds)
            finally:
                row["sleeping"] = outcome(beside, seconds + 1)
    except BenchmarkError as error:
        row["failure"] = str(error)
    else:
        for part in ("alone", "beside", "sleeping"):
            if failure := what_is_wrong(row[part]):
                row["failure"] = f"{part}: {failure}"
    return row
