"""The framework of the checks: what happens to findings between a family and the report."""

import linecache
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from django_asgi_deploy import conf
from django_asgi_deploy.checks import frames
from django_asgi_deploy.checks.catalogue import CHECKS
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.findings import Findings
from django_asgi_deploy.checks.frames import Place
from django_asgi_deploy.checks.ignores import ignored_in
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.run import run
from tests.utils import Site


def on_line(number: int, line: int = 3) -> Finding:
    return found(number, "message", "hint", place=Place("shop.py", line))


# ------------------------------------------------------------------ failures


def fine(inspected: Inspected) -> Iterator[Finding]:
    yield on_line(402)


def broken(inspected: Inspected) -> Iterator[Finding]:
    yield on_line(101)
    raise KeyError("nobody has thought of this")


def test_a_check_that_fails_says_so_and_the_others_go_on() -> None:
    """What it had found until then stays."""
    shown = run(Inspected(conf.Settings()), (broken, fine)).shown
    assert [finding.number for finding in shown] == [101, 402, 0]
    assert "test_framework.broken failed: KeyError: 'nobody has thought of this'" in shown[-1].message


# ------------------------------------------------------------------ silencing


@pytest.mark.parametrize(
    ("comment", "names"),
    [
        ("x = 1  # asgi: ignore[402] a reason", ["402"]),
        ("x = 1  #asgi:ignore[sync-orm, 401]", ["sync-orm", "401"]),
        ("x = 1  # noqa: E501 # asgi: ignore[asgi.402]", ["asgi.402"]),
        ("x = 1  # asgi: ignore", []),
        ("x = 1  # asgi: ignore[]", []),
    ],
)
def test_a_comment_names_what_it_silences(comment: str, names: list[str]) -> None:
    assert ignored_in(comment) == names


@pytest.mark.parametrize(
    ("source", "is_silenced"),
    [
        ("\n\nx = 1  # asgi: ignore[402] why\n", True),
        ("\n# asgi: ignore[sync-orm] why\nx = 1\n", True),
        ("# asgi: ignore[402] why\n# in two lines\nx = 1\n", True),
        ("\n\nx = 1  # asgi: ignore[401] why\n", False),
        ("# asgi: ignore[402] why\n\nx = 1\n", False),
        ("\ny = 1  # asgi: ignore[402] why\nx = 1\n", False),
    ],
)
def test_a_comment_silences_its_line_and_the_one_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, is_silenced: bool
) -> None:
    (tmp_path / "shop.py").write_text(source)
    monkeypatch.setattr(frames, "_root", tmp_path)
    linecache.clearcache()
    findings = Findings()
    findings.add([on_line(402)])
    assert (findings.shown, findings.silenced) == (([], 1) if is_silenced else ([on_line(402)], 0))


@override_settings(SILENCED_SYSTEM_CHECKS=["asgi.402"])
def test_a_setting_silences_a_check_everywhere() -> None:
    findings = Findings()
    findings.add([on_line(402), on_line(401), on_line(401)])
    assert ([finding.number for finding in findings.shown], findings.silenced) == ([401], 1)


def test_the_worst_comes_first() -> None:
    findings = Findings()
    findings.add([on_line(209), on_line(401), on_line(403), on_line(402, 9), on_line(402, 2)])
    assert [(each.number, each.place and each.place.line) for each in findings.shown] == [
        (402, 2),
        (402, 9),
        (403, 3),
        (401, 3),
        (209, 3),
    ]


def test_what_the_probe_sees_at_a_known_line_is_one_finding_with_it() -> None:
    findings = Findings()
    findings.add([on_line(402)])
    findings.confirm([on_line(701), on_line(701, 8)])
    assert [each.number for each in findings.shown] == [402, 701]
    assert findings.shown[0].chain == ("seen by the probe: message",)


# ------------------------------------------------------------------ runasgi


def test_only_an_error_of_what_the_site_needs_forbids_serving() -> None:
    assert found(201, "", "").forbids_serving
    assert not found(201, "", "", level="warning").forbids_serving
    assert not found(402, "", "").forbids_serving
    assert {check.number for check in CHECKS.values() if not check.deploy} <= {2, 3, *range(201, 207)}


def test_runasgi_shows_findings_a_line_each_and_starts(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.append("mysite/settings", "SESSION_ENGINE = 'django.contrib.sessions.backends.file'\n")
    with site.serve() as server:
        server.wait_for("^Serving ")
        assert "  note         asgi.110 file-sessions: mysite/settings.py:8: Sessions are files" in server.output
    with site.serve("--skip-checks") as server:
        server.wait_for("^Serving ")
        assert "asgi." not in server.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_runasgi_does_not_start_on_middleware_that_breaks_every_page(tmp_path: Path, workers: str) -> None:
    site = Site(tmp_path)
    site.write(
        "mysite/middleware",
        """
        class Undeclared:
            def __init__(self, get_response):
                self.get_response = get_response
            async def __call__(self, request):
                return await self.get_response(request)
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.Undeclared']\n")
    done = site.run("0", "--workers", workers)
    assert done.returncode == 3
    assert "The site can't work over ASGI" in done.stderr
    assert "asgi.201 async-call-undeclared: mysite/middleware.py:" in done.stderr
    assert "Traceback" not in done.stderr
