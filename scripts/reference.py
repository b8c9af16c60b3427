#!/usr/bin/env python3
"""Write the generated parts of README.rst and docs/: ``scripts/reference.py``; with ``--check`` only compare.

They stand between a comment ``.. generated: <name>`` and the comment ``.. end of generated``, and come from the
declarations in ``django_asgi_deploy.conf`` and the tables in ``tests/malformed.py``. With ``--check`` the exit
status is 1 if one of them is out of date.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from django_asgi_deploy.conf import GROUPS, OPTIONS, Settings, as_text  # noqa: E402
from django_asgi_deploy.options import Option  # noqa: E402
from tests import malformed  # noqa: E402

FILES = ["README.rst", *sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.rst"))]
BLOCK = re.compile(r"^\.\. generated: (?P<name>\S+)\n.*?^\.\. end of generated$", re.MULTILINE | re.DOTALL)


def main(arguments: list[str]) -> int:
    stale = []
    for name in FILES:
        file = ROOT / name
        text = file.read_text(encoding="utf-8")
        fresh = filled(text)
        if text == fresh:
            continue
        stale.append(name)
        if "--check" not in arguments:
            file.write_text(fresh, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'out of date; run scripts/reference.py' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def filled(text: str) -> str:
    """``text`` with the content of every generated block made anew."""
    return BLOCK.sub(
        lambda block: f".. generated: {block['name']}\n\n{MAKERS[block['name']]()}\n\n.. end of generated", text
    )


def settings_tables() -> str:
    """One table per group, for the README."""
    return "\n\n".join(_table(group, title) for group, title in _groups())


def _table(group: str, title: str) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", "   :widths: 24 22 18 36", ""]
    rows = [("Setting", "Type", "Default", "Meaning")]
    rows += [(f"``{each.key}``", _type(each), f"``{_literal(each.default)}``", each.help) for each in _in(group)]
    for row in rows:
        lines += [f"   {'* ' if number == 0 else '  '}- {_escaped(cell)}" for number, cell in enumerate(row)]
    return "\n".join(lines)


def bad_input() -> str:
    """What clients may send that isn't right, and what they get."""
    from tests.server.bad_input import CASES

    rows = [
        ("Sent", "uvicorn alone", "runasgi"),
        *((each.name, each.uvicorn, each.ours or "the same") for each in CASES),
    ]
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 46 27 27", ""]
    for row in rows:
        lines += [f"   {'* ' if number == 0 else '  '}- {_escaped(cell)}" for number, cell in enumerate(row)]
    return "\n".join(lines)


def settings_reference() -> str:
    """A heading per group and per setting, for the documentation."""
    parts = []
    for group, title in _groups():
        parts.append(f"{title}\n{'-' * len(title)}")
        parts += [_described(each) for each in _in(group)]
    return "\n\n".join(parts)


def _described(option: Option) -> str:
    lines = [
        ("Type", _type(option)),
        ("Default", f"``{_literal(option.default)}``"),
        ("Flag", f"``{option.flag_name}``" if option.flag else "none"),
        ("Variable", f"``{option.variable}``" + (" (JSON)" if option.is_dictionary else "")),
    ]
    title = f"``{option.key}``"
    return "\n".join(
        [
            f".. setting:: {option.key}",
            "",
            title,
            "~" * len(title),
            "",
            _escaped(option.help),
            "",
            *(f"| {name}: {value}" for name, value in lines),
        ]
    )


def default_configuration() -> str:
    """What ``--print-config`` prints when nothing is configured."""
    table = "\n".join(f"   {line}".rstrip() for line in as_text(Settings()).splitlines())
    return f".. code-block:: text\n\n{table}"


def malformed_input(first: str, rows: list[malformed.Row]) -> str:
    """What a test sends, and what comes back."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 60 40", ""]
    for sent, answer in [(first, "Answer"), *((row.title, row.answer) for row in rows)]:
        lines += [f"   * - {sent}", f"     - {answer}"]
    return "\n".join(lines)


MAKERS: dict[str, Callable[[], str]] = {
    "settings-tables": settings_tables,
    "settings-reference": settings_reference,
    "default-configuration": default_configuration,
    "malformed-bodies": partial(malformed_input, "Body", malformed.BODIES),
    "malformed-health-paths": partial(malformed_input, "Path", malformed.HEALTH_PATHS),
    "malformed-origins": partial(malformed_input, "``Origin``", malformed.ORIGINS),
    "bad-input": bad_input,
}


def _groups() -> Iterator[tuple[str, str]]:
    """Those that have options."""
    return ((group, title) for group, title in GROUPS.items() if any(_in(group)))


def _in(group: str) -> Iterator[Option]:
    return (each for each in OPTIONS.values() if each.group == group)


def _type(option: Option) -> str:
    """The type as it is written in settings, where "off" is False."""
    if option.choices:
        *others, last = [f"``{_literal(choice)}``" for choice in option.choices]
        return f"{', '.join(others)} or {last}" if others else last
    return option.expected + (", or ``None``" if option.default is None else "")


def _literal(value: object) -> str:
    """Python source of a value, with the double quotes that Django's settings are written in."""
    return repr(value).replace("'", '"')


def _escaped(text: str) -> str:
    return text.replace("*", r"\*")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
