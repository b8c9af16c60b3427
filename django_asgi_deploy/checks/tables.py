"""Text in columns, and text that keeps within a width."""

import textwrap
from collections.abc import Iterable

Row = tuple[str, ...]


def table(rows: list[Row], right: tuple[int, ...] = ()) -> list[str]:
    """Lines with aligned columns; those numbered in ``right`` to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def wrapped(text: str, width: int, margin: str, first: str | None = None) -> str:
    """Lines of at most ``width`` columns, with a margin, and in the ``first`` line another."""
    return textwrap.fill(
        text,
        width,
        initial_indent=margin if first is None else first,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width, 20) - 3]}..."


def plural(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def section(title: str, lines: Iterable[str]) -> str:
    """A heading over indented lines; nothing without lines."""
    lines = [f"  {line}".rstrip() for text in lines for line in text.splitlines()]
    return "\n".join([title, *lines]) if lines else ""
