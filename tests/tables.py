"""Tables of the documentation as parameters of tests: what a page promises is what is tried."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def rows(page: str, title: str) -> list[list[list[str]]]:
    """The rows of ``.. list-table:: title`` in ``docs/<page>``, without the header; of each cell the literals in it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    start = text.index(f".. list-table:: {title}\n")
    block = re.split(r"\n(?=\S)", text[start:], maxsplit=1)[0]
    found = []
    for row in re.split(r"\n   \* - ", block)[2:]:
        cells = re.split(r"\n     - ", row)
        found.append([re.findall(r"``(.+?)``", cell) for cell in cells])
    assert found, f"no rows below {title!r}"
    return found
