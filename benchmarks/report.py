"""The tables, in reStructuredText."""

import textwrap
from statistics import median
from typing import Any

import summary
from summary import BASE, Figure

WIDTH = 120
HELLO = ("sync", "async")
BUSY = 0.85


def render(data: dict[str, Any]) -> str:
    parts = [
        _heading("Benchmarks"),
        _paragraph(HOW.format(**data["order"], **data["settings"])),
        _ratios(data),
        *(_workload(data, name) for name in summary.names(data, "workload")),
        _limit(data),
        _mixed(data),
        _memory(data),
        _notes(data),
        _machine(data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


HOW = (
    "One worker, pinned to one core; wrk with {connections} connections for {seconds:g} s on another, {rounds} "
    "round(s). A round measures each server in turn, freshly started and warmed up; ratios are taken within a round, "
    "against Django's own handler on uvicorn. Shown: median (least .. most). Any error fails the cell. CPU: the "
    "server's own processor time for one request, which other load on the machine stretches less than the clock."
)


# Load


def _ratios(data: dict[str, Any]) -> str:
    workloads = summary.names(data, "workload")
    header = ["requests/s, ratio to stock", *(_title(data, name) for name in workloads)]
    rows = [
        [_title(data, server), *(_ratio_text(data, server, name) for name in workloads)]
        for server in summary.names(data, "server")
    ]
    return _table(header, rows) if rows else ""


def _ratio_text(data: dict[str, Any], server: str, workload: str) -> str:
    cell = summary.cell(data, server, workload)
    if cell is None:
        return "-"
    if cell.failure:
        return "failed"
    return f"{cell.ratio.median:.2f}" if cell.ratio else "no base"


def _workload(data: dict[str, Any], workload: str) -> str:
    header = ["server", "requests/s", "ratio to stock", "p99, ms", "CPU, µs"]
    rows = [_workload_row(data, server, workload) for server in summary.names(data, "server")]
    return _heading(_title(data, workload).capitalize(), "-") + "\n\n" + _table(header, [row for row in rows if row])


def _workload_row(data: dict[str, Any], server: str, workload: str) -> list[str]:
    cell = summary.cell(data, server, workload)
    if cell is None:
        return []
    ratio = f"failed: {cell.failure}" if cell.failure else _figure(cell.ratio, 2)
    return [_title(data, server), _figure(cell.rate, 0), ratio, _figure(cell.p99, 1), _figure(cell.cpu, 0)]


def _limit(data: dict[str, Any]) -> str:
    good = [row for row in data["limit"] if not row.get("failure")]
    if not good:
        return "\n".join(f"Limit: {row['failure']}" for row in data["limit"])
    header = ["share of the limit", *(f"{_title(data, name)}{by}" for name in HELLO for by in ("", ", by CPU"))]
    rows = [_limit_row(data, server) for server in summary.names(data, "server")]
    keys = ("raw_requests_per_second", "chain_us", "requests_per_second", "cpu_us")
    raw, chain, limit, cpu = (median(row[key] for row in good) for key in keys)
    text = (
        f"Limit: 1e6 / (1e6 / r + c) = {limit:,.0f} requests/s, with r = {raw:,.0f} requests/s of a raw ASGI "
        f"callable on uvicorn, and c = {chain:.0f} µs of Django's synchronous chain in process; taken in each round. "
        f"By CPU: both parts' processor time, {cpu:.0f} µs, to that of the server."
    )
    return "\n\n".join([_heading("Share of the limit", "-"), _paragraph(text), _table(header, rows)])


def _limit_row(data: dict[str, Any], server: str) -> list[str]:
    shares = [summary.share_of_limit(data, server, name) for name in HELLO]
    return [_title(data, server), *(_figure(each, 0, " %") for share in shares for each in (share.rate, share.cpu))]


def _mixed(data: dict[str, Any]) -> str:
    if not data["mixed"]:
        return ""
    header = ["async hello, p99 in ms", "connections", "alone", "beside sleepers", "ratio", "sleepers/s"]
    keys = list(dict.fromkeys((row["server"], row["connections"]) for row in data["mixed"]))
    rows = [_mixed_row(data, server, connections) for server, connections in keys]
    text = f"Beside it: sync views that sleep 50 ms, {data['mixed'][0]['sleepers']} at once, as many as the pool takes."
    return "\n\n".join([_heading("Mixed load", "-"), _paragraph(text), _table(header, rows)])


def _mixed_row(data: dict[str, Any], server: str, connections: int) -> list[str]:
    rows = [row for row in data["mixed"] if (row["server"], row["connections"]) == (server, connections)]
    start = [_title(data, server), str(connections)]
    if failures := [row["failure"] for row in rows if row.get("failure")]:
        return [*start, f"failed: {failures[0]}", "", "", ""]
    alone, beside = ([row[part]["p99_ms"] for row in rows] for part in ("alone", "beside"))
    ratios = [after / before for before, after in zip(alone, beside, strict=True) if before]
    sleeping = Figure.of([row["sleeping"]["requests_per_second"] for row in rows])
    figures = [_figure(Figure.of(alone), 1), _figure(Figure.of(beside), 1), _figure(Figure.of(ratios), 2)]
    return [*start, *figures, _figure(sleeping, 0)]


# Memory and threads


def _memory(data: dict[str, Any]) -> str:
    measured = data["memory"]
    if not measured:
        return ""
    header = ["above idle", *(_title(data, each["server"]) for each in measured)]
    lines = [
        ("event streams", "streams", _streams_text),
        ("the same, after they left", "streams", lambda found: _growth_text(found["closed"])),
        ("a second time, above that", "streams", lambda found: _growth_text(found["closed_again"])),
        ("a large file, at most", "file", lambda found: f"{found['mib_served']} MiB: {_growth_text(found['peak'])}"),
        ("sync iterator, first chunk", "iterator", _first_text),
        ("sync iterator, client left", "iterator", _left_text),
        ("connections, sync queries", "sync_connections", _connections_text),
        ("connections, async queries", "async_connections", _connections_text),
    ]
    rows = [[title, *(_or_failure(text, each[key]) for each in measured)] for title, key, text in lines]
    return _heading("Memory, threads, connections", "-") + "\n\n" + _table(header, rows)


def _or_failure(text: Any, found: dict[str, Any]) -> str:
    return f"failed: {found['failure']}" if "failure" in found else text(found)


def _growth_text(growth: dict[str, Any]) -> str:
    return f"{growth['threads']:+d} threads, {growth['mib']:+.1f} MiB"


def _streams_text(found: dict[str, Any]) -> str:
    return f"{found['answered']} of {found['streams']}: {_growth_text(found['open'])}"


def _first_text(found: dict[str, Any]) -> str:
    return f"after {found['first_seconds']:.2f} s of {found['last_seconds']:.2f} s"


def _left_text(found: dict[str, Any]) -> str:
    if found["closed_seconds"] is None:
        return "never closed"
    return f"closed after {found['closed_seconds']:.2f} s, {found['made']} of {found['chunks']} chunks made"


def _connections_text(found: dict[str, Any]) -> str:
    failed = f", {found['failed']} failed" if found["failed"] else ""
    return f"{found['connections']} after {found['requests']:,} requests{failed}"


# Notes and machine


def _notes(data: dict[str, Any]) -> str:
    notes = [
        "CONN_MAX_AGE is 60 for django-asgi-deploy and the WSGI servers. Under Django's own ASGI handler every request "
        "leaves a connection behind until PostgreSQL has too many, so there it is 0.",
    ]
    shares = [row["core_share"] for row in data["load"] if "core_share" in row]
    if idle := sum(share < BUSY for share in shares):
        notes.append(
            f"In {idle} of {len(shares)} measurements the server used less than {BUSY:.0%} of its core: it waited for "
            "the database or the client, or something else ran there."
        )
    notes += [f"{name}: not measured, {why}." for name, why in data["skipped"].items()]
    for server in summary.names(data, "server"):
        for workload in summary.names(data, "workload"):
            cell = summary.cell(data, server, workload)
            if cell and cell.tracebacks:
                notes.append(f"{_title(data, server)}, {_title(data, workload)}, in its log: {cell.tracebacks[0]}")
    return _heading("Notes", "-") + "\n\n" + "\n".join(_item(note) for note in notes)


def _machine(data: dict[str, Any]) -> str:
    machine, versions = data["machine"], data["versions"]
    busy = f"load average {machine['load_before']} before the run"
    lines = [
        f"{data['taken']}; django-asgi-deploy {data['commit']}, run by {data['settings']['ours']}",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']:,} MiB, {machine['kernel']}; {busy}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return _heading("Machine and versions", "-") + "\n\n" + "\n".join(_item(line) for line in lines)


# Text


def _title(data: dict[str, Any], name: str) -> str:
    return data["titles"].get(name, name) + (" (stock)" if name == BASE else "")


def _figure(figure: Figure | None, digits: int, unit: str = "") -> str:
    if figure is None:
        return "-"
    middle = f"{figure.median:,.{digits}f}{unit}"
    if figure.least == figure.most:
        return middle
    return f"{middle} ({figure.least:,.{digits}f} .. {figure.most:,.{digits}f})"


def _heading(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _item(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _table(header: list[str], rows: list[list[str]]) -> str:
    cells = [[text or "-" for text in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
