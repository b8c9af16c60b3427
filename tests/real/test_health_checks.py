"""django-health-check's checks as READY_CHECKS: classes, and made ones, synchronous and asynchronous."""

import http.client
import json

import pytest

from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, Site

pytestmark = pytest.mark.real

CHECKS = """
    import dataclasses
    from health_check.base import HealthCheck
    from health_check.checks import Database
    from health_check.exceptions import ServiceUnavailable

    @dataclasses.dataclass
    class Queue(HealthCheck):
        async def run(self):
            raise ServiceUnavailable("the queue is away")

    other = Database(alias="other")
"""


def test_they_are_run_as_ready_checks_and_need_not_be_installed(site: Site) -> None:
    require_package("health_check")
    names = ["health_check.checks.Database", "health_check.checks.Cache", "mysite.checks.other", "mysite.checks.Queue"]
    site.write("mysite/checks", CHECKS)
    site.append(
        "mysite/settings",
        f'ASGI_DEPLOY = {{"READY_PATH": "/readyz", "READY_CHECKS": {names}, "READY_TIMEOUT_SECONDS": 20}}\n'
        'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},\n'
        '             "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/db.sqlite3"}}\n',
    )
    with site.serve() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        checks = {check["name"]: check for check in json.loads(response.read())["checks"]}
        connection.close()
        assert response.status == 503
        assert [checks[name]["result"] for name in names] == ["ok", "ok", "failed", "failed"]
        assert checks["mysite.checks.other"]["error"].startswith("ServiceUnavailable: ")
        assert checks["mysite.checks.Queue"]["error"].endswith("the queue is away")
        assert server.stop() == 0
