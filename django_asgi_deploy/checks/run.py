"""All families of checks, in one order.

A family is a module with ``check(inspected)``, which yields findings; one that makes several checks lets each fail by
itself, with ``guard.surviving``.
"""

from collections.abc import Callable, Iterable

from django_asgi_deploy.checks import (
    called,
    channels,
    classes,
    conditions,
    costs,
    definitions,
    deployment,
    dispatch,
    entry,
    functions,
    middleware_code,
    modes,
    overrides,
    rest_framework,
    scope,
    server,
    settings_databases,
    settings_http,
    settings_logging,
    settings_services,
    source,
    sources,
    twins,
    views,
)
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.findings import Findings
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected

Family = Callable[[Inspected], Iterable[Finding]]

# Those that look at the loaded project. Nothing is driven: no request, no network, no query, no write.
FAMILIES: tuple[Family, ...] = (
    entry.check,
    settings_databases.check,
    settings_services.check,
    settings_logging.check,
    settings_http.check,
    modes.check,
    costs.check,
    middleware_code.check,
    views.check,
    classes.check,
    dispatch.check,
    overrides.check,
    rest_framework.check,
    twins.check,
    called.check,
    deployment.check,
    server.check,
    channels.check,
    source.check,
)
# Those that can tell why the URLconf can't be imported.
WITHOUT_URLS: tuple[Family, ...] = (classes.mixed,)
# What starts processes of its own.
SEPARATE_FAMILIES: tuple[Family, ...] = (entry.check_import,)


def run(inspected: Inspected, families: Iterable[Family] = (*SEPARATE_FAMILIES, *FAMILIES)) -> Findings:
    """What the families find."""
    findings = Findings()
    findings.add(surviving(families, inspected))
    # The trees of all sources are large, and a server that has checked its project at the start doesn't need them.
    definitions.forget()
    scope.forget()
    conditions.forget()
    functions.source_of.cache_clear()
    sources.text_of.cache_clear()
    return findings
