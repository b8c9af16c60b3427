"""The report that benchmarks/run.py renders. Nothing is measured here: no test asserts a time."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.programs import require_package

RUN = Path(__file__).parent.parent / "benchmarks" / "run.py"

SAMPLE = {
    "format": 1,
    "taken": "2026-01-01 00:00 UTC",
    "settings": {"rounds": 2, "seconds": 1, "connections": 32, "ours": "runasgi"},
    "machine": {"cpu": "A & B", "cores": 2, "memory_mib": 1024, "kernel": "Linux 1", "load_before": 0.1},
    "versions": {"python": "3.13.0"},
    "commit": "abc",
    "titles": {"ours": "Ours", "stock": "Stock", "broken": "Broken", "sync": "sync view"},
    "order": {"servers": ["ours", "stock", "broken"], "workloads": ["sync"]},
    "skipped": {"daphne": "daphne isn't installed"},
    "load": [
        {"server": server, "workload": "sync", "round": number, **figures}
        for server, number, figures in [
            ("ours", 1, {"requests_per_second": 1000.0, "p99_ms": 3.0, "cpu_us": 900.0, "core_share": 0.5}),
            ("ours", 2, {"requests_per_second": 3000.0, "p99_ms": 2.0, "cpu_us": 300.0}),
            ("stock", 1, {"requests_per_second": 100.0, "p99_ms": 40.0, "cpu_us": 9000.0}),
            ("stock", 2, {"requests_per_second": 200.0, "p99_ms": 20.0, "cpu_us": 5000.0}),
            ("broken", 1, {"requests_per_second": 900.0, "p99_ms": 1.0, "cpu_us": 1.0, "failure": "7 status errors"}),
            ("broken", 2, {"failure": "ended at start", "tracebacks": ["ValueError: why"]}),
        ]
    ],
    "limit": [
        {
            "round": 1,
            "raw_requests_per_second": 9000.0,
            "chain_us": 200.0,
            "requests_per_second": 4000.0,
            "cpu_us": 250.0,
        }
    ],
    "mixed": [{"round": 1, "server": "ours", "connections": 1, "sleepers": 8, "failure": "alone: 1 read errors"}],
    "memory": [
        {
            "server": "ours",
            "streams": {"failure": "gone"},
            "file": {"mib_served": 300, "peak": {"threads": 1, "mib": 0.5}},
            "iterator": {"first_seconds": 0.0, "last_seconds": 1.0, "closed_seconds": None, "made": 20, "chunks": 20},
            "sync_connections": {"requests": 1000, "failed": 0, "connections": 8},
            "async_connections": {"requests": 1000, "failed": 9, "connections": 90},
        }
    ],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    (tmp_path / "sample.json").write_text(json.dumps(SAMPLE))
    done = run("--report", str(tmp_path / "sample.json"))
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_command_explains_its_options() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    for option in ("--rounds", "--seconds", "--servers", "--workloads", "--quick", "--out", "--report"):
        assert option in done.stdout


def test_an_unknown_server_is_refused_and_the_known_ones_are_named() -> None:
    done = run("--servers", "ours,apache")
    assert done.returncode == 2
    assert "apache: expected some of ours, stock, granian-asgi" in done.stderr


def test_the_tables_hold_ratios_taken_within_rounds_and_what_failed_has_none(rendered: Path) -> None:
    table = (rendered / "results.rst").read_text(encoding="utf-8")
    for expected in ("2,000 (1,000 .. 3,000)", "12.50 (10.00 .. 15.00)", "2.5 (2.0 .. 3.0)"):
        assert expected in table
    assert "failed: 2 of 2 rounds: 7 status errors" in table
    assert "25 %" in table
    assert "never closed" in table
    assert "90 after 1,000 requests, 9 failed" in table
    assert "- daphne: not measured, daphne isn't installed." in table
    assert "in its log: ValueError: why" in table
    assert "In 1 of 1 measurements the server used less than 85% of its core" in table


def test_the_chart_is_svg_with_a_bar_for_whatever_has_a_ratio(rendered: Path) -> None:
    root = ElementTree.fromstring((rendered / "chart.svg").read_text(encoding="utf-8"))
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{namespace}svg"
    bars = [each for each in root.iter(f"{namespace}rect") if each.get("class") in ("bar", "ours")]
    assert len(bars) == 2
    texts = [each.text for each in root.iter(f"{namespace}text")]
    assert "12.5x (2,000/s)" in texts
    assert "failed" in texts


def test_layers_py_measures_what_the_documentation_shows() -> None:
    """How much it is, nobody asks here."""
    require_package("prometheus_client")
    done = subprocess.run(
        [sys.executable, RUN.with_name("layers.py"), "--seconds", "0.01"], capture_output=True, text=True, check=True
    )
    documented = (RUN.parent.parent / "docs" / "contributing" / "architecture.rst").read_text(encoding="utf-8")
    row = r"^ *(\S.*?) +([+-]?\d+\.\d\d)(?: microseconds)?$"
    measured = [name for name, _ in re.findall(row, done.stdout, re.M)]
    assert measured == [name for name, _ in re.findall(row, documented, re.M)]
    assert len(measured) > 10
