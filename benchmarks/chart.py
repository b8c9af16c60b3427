"""The chart: requests per second as a ratio to stock, one group of bars for each workload, as SVG."""

from typing import Any
from xml.sax.saxutils import escape

import summary
from summary import BASE, Cell

WIDTH, LEFT, RIGHT, TOP = 720, 190, 130, 46
BAR, STEP, GROUP = 12, 17, 30  # heights of a bar, of a bar with its gap, and of a group's heading

# It has a background of its own, so that it can be read on any page, whichever scheme that thinks it has.
STYLE = """
  .page { fill: #ffffff } text { fill: #1f2328; font: 12px system-ui, sans-serif } .strong { font-weight: 600 }
  .small { font-size: 11px; fill: #59636e } .bar { fill: #afb8c1 } .ours { fill: #1a7f4b }
  .stock, .spread { stroke: #59636e } .stock { stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 } .bar { fill: #484f58 }
    .ours { fill: #2ea36a } .stock, .spread { stroke: #9198a1 }
  }
"""


def render(data: dict[str, Any]) -> str:
    groups = [(workload, _cells(data, workload)) for workload in summary.names(data, "workload")]
    ratios = [cell.ratio.most for _, cells in groups for _, cell in cells if cell.ratio]
    scale = (WIDTH - LEFT - RIGHT) / max([*ratios, 1.0])
    body: list[str] = []
    y = TOP
    for workload, cells in groups:
        body.append(_text(16, y + 20, data["titles"].get(workload, workload), "strong"))
        y += GROUP
        for server, cell in cells:
            body += _bar(y, server, data["titles"].get(server, server), cell, scale)
            y += STEP
    body.append(_line(LEFT + scale, TOP + 6, LEFT + scale, y, "stock"))
    return _document(body, y + 16)


def _cells(data: dict[str, Any], workload: str) -> list[tuple[str, Cell]]:
    found = [(server, summary.cell(data, server, workload)) for server in summary.names(data, "server")]
    return [(server, cell) for server, cell in found if cell]


def _bar(y: float, server: str, title: str, cell: Cell, scale: float) -> list[str]:
    middle = y + BAR - 2
    label = _text(LEFT - 8, middle, title, "strong" if server == "ours" else "", anchor="end")
    if not cell.ratio:
        return [label, _text(LEFT + 6, middle, "failed" if cell.failure else "no base", "small")]
    length = cell.ratio.median * scale
    kind = "ours" if server == "ours" else "bar"
    parts = [label, f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>']
    if server != BASE:
        least, most = (LEFT + value * scale for value in (cell.ratio.least, cell.ratio.most))
        parts.append(_line(least, y + BAR / 2, most, y + BAR / 2, "spread"))
    rate = f" ({cell.rate.median:,.0f}/s)" if cell.rate else ""
    end = LEFT + max(length, cell.ratio.most * scale, scale)  # right of the line for stock
    return [*parts, _text(end + 6, middle, f"{cell.ratio.median:.1f}x{rate}", "small")]


def _document(body: list[str], height: float) -> str:
    title = "Requests per second, as a ratio to Django's own ASGI handler on uvicorn"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height:g}" rx="6"/>',
        _text(16, 26, title, "strong"),
        _text(16, 42, "One worker on one core; longer is better; thin lines: the spread over the rounds.", "small"),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
