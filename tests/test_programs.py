"""A test that needs a missing program skips by name for a user, and fails in CI."""

import pytest

from tests.programs import require_package, require_program


def test_a_missing_program_skips_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs program no-such-program, which isn't installed"):
        require_program("no-such-program")


def test_a_missing_package_fails_the_run_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs Python package no_such_package"):
        require_package("no_such_package")
