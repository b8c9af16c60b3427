"""The project's databases: which backend each has, and which aren't on this machine, where a probe could write."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.db import connections

HERE = ("localhost", "127.", "::1", "/", "@")  # "/" and "@": a unix socket
ENVIRONMENT = {"postgresql": ("PGHOST", "PGHOSTADDR")}  # what the client library falls back to
NAMES = {"postg": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite", "oracle": "oracle"}


def configured() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Alias, vendor and settings of each database that has a backend; no connection is made."""
    for alias, config in (django_settings.DATABASES or {}).items():
        engine = config.get("ENGINE") or ""
        if engine not in ("", "django.db.backends.dummy"):
            yield alias, vendor_of(engine), config


def vendor_of(engine: str) -> str:
    """ "postgresql", "mysql", ...; by the backend's class where that can be imported, else by its name."""
    try:
        return str(import_module(f"{engine}.base").DatabaseWrapper.vendor)
    except Exception:  # the driver isn't installed: Django will say so
        return next((vendor for part, vendor in NAMES.items() if part in engine.lower()), "unknown")


def elsewhere() -> list[str]:
    """``"default (postgresql at db.example.com)"`` for each database that isn't known to be local."""
    return list(_elsewhere())


def _elsewhere() -> Iterator[str]:
    for alias in connections:
        connection = connections[alias]
        if connection.vendor in ("sqlite", "unknown"):  # "unknown": the backend that isn't one
            continue
        host = _host(connection.vendor, connection.settings_dict)
        if host is None or (host and not host.startswith(HERE)):
            yield f"{alias} ({connection.vendor} at {host or 'a place that the settings do not tell'})"


def _host(vendor: str, settings: dict[str, object]) -> str | None:
    """The host; empty for the client library's default, which is a local socket; None if it can't be known."""
    options = settings.get("OPTIONS")
    options = options if isinstance(options, dict) else {}
    if options.get("service") or (vendor == "postgresql" and os.environ.get("PGSERVICE")):
        return None
    host = settings.get("HOST") or options.get("host") or options.get("unix_socket")
    for variable in () if host else ENVIRONMENT.get(vendor, ()):
        host = host or os.environ.get(variable)
    if not host and vendor not in ("postgresql", "mysql"):
        return None
    return str(host or "")
