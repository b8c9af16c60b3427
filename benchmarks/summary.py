"""From rounds to figures: medians, spread, and ratios to stock."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

BASE = "stock"


@dataclass(frozen=True)
class Figure:
    """A median and its spread."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Figure | None":
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Cell:
    """One server under one workload. A round that failed fails the cell, whatever the others say."""

    rate: Figure | None = None
    ratio: Figure | None = None
    p99: Figure | None = None
    cpu: Figure | None = None
    failure: str | None = None
    tracebacks: tuple[str, ...] = ()


def names(data: dict[str, Any], key: str) -> list[str]:
    """Servers or workloads, in the order of their first measurement that counts as the run's."""
    order = data["order"][key + "s"]
    present = {row[key] for row in data["load"]}
    return [name for name in order if name in present]


def cell(data: dict[str, Any], server: str, workload: str) -> Cell | None:
    """None if it wasn't measured."""
    rows = _rows(data, server, workload)
    if not rows:
        return None
    failures = [row["failure"] for row in rows if row.get("failure")]
    return Cell(
        rate=Figure.of(_values(rows, lambda row: row.get("requests_per_second"))),
        ratio=None if failures else Figure.of(_ratios(data, rows, workload)),
        p99=Figure.of(_values(rows, lambda row: row.get("p99_ms"))),
        cpu=Figure.of(_values(rows, lambda row: row.get("cpu_us"))),
        failure=f"{len(failures)} of {len(rows)} rounds: {failures[0]}" if failures else None,
        tracebacks=tuple(line for row in rows for line in row.get("tracebacks", [])),
    )


def _rows(data: dict[str, Any], server: str, workload: str) -> list[dict[str, Any]]:
    return [row for row in data["load"] if (row["server"], row["workload"]) == (server, workload)]


def _values(rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]) -> list[float]:
    return [found for row in rows if (found := value(row)) is not None]


def _ratios(data: dict[str, Any], rows: list[dict[str, Any]], workload: str) -> list[float]:
    """Against the stock of the same round: what disturbs the machine for a while disturbs both."""
    stock = {row["round"]: row["requests_per_second"] for row in _rows(data, BASE, workload) if not row.get("failure")}
    return [row["requests_per_second"] / stock[row["round"]] for row in rows if stock.get(row["round"])]


@dataclass(frozen=True)
class Share:
    """How much of the limit is reached, in per cent: by requests per second, and by processor time."""

    rate: Figure | None
    cpu: Figure | None


def share_of_limit(data: dict[str, Any], server: str, workload: str) -> Share:
    limits = {row["round"]: row for row in data["limit"] if not row.get("failure")}
    rows = [row for row in _rows(data, server, workload) if not row.get("failure") and row["round"] in limits]
    pairs = [(row, limits[row["round"]]) for row in rows]
    return Share(
        rate=Figure.of([row["requests_per_second"] / best["requests_per_second"] * 100 for row, best in pairs]),
        cpu=Figure.of([best["cpu_us"] / row["cpu_us"] * 100 for row, best in pairs if row["cpu_us"]]),
    )
