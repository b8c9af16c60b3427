"""Django's own tests of its handlers hold for the handler under test, and ran through it.

The sdist of the installed Django comes from PyPI into ``.cache/`` once. Which handler: ``HANDLER_UNDER_TEST``.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

from tests.django_suite.exclusions import EXCLUDED
from tests.handlers.under_test import DJANGOS_OWN, HANDLER_UNDER_TEST

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "django-sdist"
LABELS = ["asgi", "handlers", "middleware_exceptions", "file_uploads", "csrf_tests"]
DOWNLOAD_SECONDS = 240
RUN_SECONDS = 600

pytestmark = pytest.mark.django_suite


@pytest.fixture(scope="session")
def tests_dir():
    """The tests directory of the sdist of this very Django version."""
    version = django.get_version()
    target = CACHE / f"django-{version}"
    if not (target / "tests" / "runtests.py").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(CACHE)]
        try:
            download = subprocess.run(
                [*command, f"django=={version}"], capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"django_suite: PyPI didn't give the sdist of Django {version} in {DOWNLOAD_SECONDS} s")
        if download.returncode:
            last_line = download.stderr.strip().rpartition("\n")[2]
            pytest.skip(f"django_suite: no sdist of Django {version} from PyPI: {last_line}")
        [archive] = [path for path in CACHE.glob("*.tar.gz") if path.name.lower() == f"django-{version}.tar.gz"]
        with tarfile.open(archive) as tar:
            tar.extractall(CACHE, filter="data")
        if not target.exists():
            (CACHE / f"Django-{version}").rename(target)
    return target / "tests"


def run_suite(handler, tests_dir, report, *labels):
    """Run Django's runtests.py with that handler; return its output and what was counted."""
    process = subprocess.run(
        [sys.executable, HERE / "run.py", "--handler", handler, "--tests-dir", tests_dir, "--report", report, *labels],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        env={key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "COVERAGE_"))},
    )
    counted = json.loads(report.read_text()) if report.exists() else {}
    return process, counted


@pytest.mark.parametrize("handler", sorted({DJANGOS_OWN, HANDLER_UNDER_TEST}))
def test_djangos_own_tests_pass_through_the_handler(handler, tests_dir, tmp_path):
    """No test fails; requests came by the client, by the async client and directly; each exclusion quotes its test."""
    process, counted = run_suite(handler, tests_dir, tmp_path / "report.json", *LABELS)

    output = process.stdout + process.stderr
    assert process.returncode == 0, output[-20_000:]
    assert re.search(r"^OK \(", process.stderr, re.MULTILINE), output[-2_000:]
    assert counted["client"] > 50, counted
    assert counted["async_client"] > 10, counted
    assert counted["calls"] >= counted["client"] + counted["async_client"] + 20, counted
    assert counted["excluded"] == dict.fromkeys(EXCLUDED, True), counted


def test_a_handler_that_loses_a_response_fails_djangos_tests(tests_dir, tmp_path):
    """The runner can fail: a handler that answers 500 to everything is found by each of the five suites."""
    for label in LABELS:
        process, counted = run_suite(
            "tests.django_suite.broken.LosingHandler", tests_dir, tmp_path / f"{label}.json", label
        )
        assert process.returncode != 0, label
        assert "FAILED (" in process.stderr, label
        assert counted["calls"] > 0, label
