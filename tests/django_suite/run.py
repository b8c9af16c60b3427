"""Run Django's own tests with an ASGI handler of choice in the place of Django's.

    python tests/django_suite/run.py --handler django.core.handlers.asgi.ASGIHandler --tests-dir <sdist>/tests asgi

Everything after the known options goes to Django's ``runtests.py``.
"""

import argparse
import atexit
import inspect
import json
import os
import runpy
import sys
import unittest
from pathlib import Path

DJANGOS_OWN = "django.core.handlers.asgi.ASGIHandler"
HERE = Path(__file__).resolve().parent


def replace_handler(path):
    """Put the handler into Django's own modules before anything has taken the old one from there."""
    import django.core.asgi
    import django.core.handlers.asgi
    from django.utils.module_loading import import_string

    taken = {"django.contrib.staticfiles.handlers", "django.test.client"} & set(sys.modules)
    handler = import_string(path)
    if handler is not django.core.handlers.asgi.ASGIHandler:
        assert not taken, f"{taken} hold Django's own handler already"
        django.core.handlers.asgi.ASGIHandler = handler
        django.core.asgi.ASGIHandler = handler
    return handler


def count_calls(handler, calls):
    """Count what reaches the handler, however it comes: the proof that the tests ran through it."""
    original = handler.__call__

    async def counted(self, scope, receive, send):
        calls["handler"] += 1
        return await original(self, scope, receive, send)

    handler.__call__ = counted


def exclude(excluded, strict, seen):
    """Skip the excluded tests, or run them to see them fail; note whether the quotation is in their source."""
    original = unittest.TestCase.run

    def run(self, result=None):
        quotation = excluded.get(self.id())
        if quotation is None:
            return original(self, result)
        method = getattr(type(self), self._testMethodName)
        seen[self.id()] = quotation in inspect.getsource(inspect.unwrap(method))
        if strict:
            self.__unittest_expecting_failure__ = True
            return original(self, result)
        result.startTest(self)
        result.addSkip(self, f"excluded: {quotation}")
        result.stopTest(self)
        return result

    unittest.TestCase.run = run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--handler", default="django_asgi_deploy.handlers.asgi.ASGIHandler")
    parser.add_argument("--tests-dir", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="write what was counted to this file, as JSON")
    options, arguments = parser.parse_known_args()

    sys.path[:] = [entry for entry in sys.path if entry != str(HERE)]
    sys.path.insert(0, str(options.tests_dir))
    sys.path.append(str(HERE.parent.parent))
    os.chdir(options.tests_dir)
    handler = replace_handler(options.handler)
    calls = {"handler": 0}
    count_calls(handler, calls)

    from tests.django_suite import client
    from tests.django_suite.exclusions import EXCLUDED

    client.install()
    seen = {}
    exclude(EXCLUDED, options.handler == DJANGOS_OWN, seen)

    def report():
        counted = {
            "handler": options.handler,
            "calls": calls["handler"],
            "client": client.Calls.client,
            "async_client": client.Calls.async_client,
            "excluded": seen,
        }
        print(json.dumps(counted), file=sys.stderr)
        if options.report:
            options.report.write_text(json.dumps(counted))

    atexit.register(report)
    sys.argv = [str(options.tests_dir / "runtests.py"), "--parallel=1", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
