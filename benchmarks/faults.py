"""Milliseconds and megabytes behind docs/reliability.rst: the faults of tests/chaos, measured instead of asserted.

    python benchmarks/faults.py [--rounds 5] [--rows 1,3b] [--out benchmarks/results/faults.rst]

Needs Linux, gunicorn and uvicorn-worker for row 8, and a machine that does nothing else. All rows take about ten
minutes. Prints each line when it is known; ``--out`` writes them beside what was promised.
"""

import argparse
import datetime
import textwrap
from pathlib import Path

import environment
from fault_rows import ROOT, ROWS, Row

HEAD = """\
Faults
======

What ``python benchmarks/faults.py`` has measured: two workers unless said otherwise, {rounds} rounds ({double}
samples of three restarts in row 1).

{date}, {cpu}, {cores} cores, load average before: {load_before}; commit {commit}.

.. list-table::
   :header-rows: 1
   :widths: 5 20 30 45

   * - Row
     - What happens
     - Goal
     - Measured
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=[row.id for row in ROWS])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if unknown := set(asked.rows) - {row.id for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(row.id for row in ROWS)}")
    machine = environment.machine()
    text = HEAD.format(
        rounds=asked.rounds,
        double=2 * asked.rounds,
        date=datetime.date.today(),
        commit=environment.commit(ROOT),
        **machine,
    )
    for row in ROWS:
        if row.id in asked.rows:
            text += _in_table(row, _measured(row, asked.rounds))
    if asked.out:
        asked.out.write_text(text)


def _measured(row: Row, rounds: int) -> list[str]:
    lines = []
    for line in row.measure(rounds):
        print(f"{row.id:3} {line}", flush=True)
        lines.append(line)
    return lines


def _in_table(row: Row, lines: list[str]) -> str:
    first = textwrap.indent(f"* - {row.id}\n  - {row.what}\n  - {row.goal}\n", "   ")
    return first + "     - | " + "\n       | ".join(lines) + "\n"


if __name__ == "__main__":
    main()
