"""Settings of the way between visitor and view: HTTPS, prefixes, streams, static files. (115 to 117, 119, 121)"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.middleware.gzip import GZipMiddleware
from django.utils.module_loading import import_string

from django_asgi_deploy import collected
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected, is_loopback
from django_asgi_deploy.checks.sources import first_place

STREAM = re.compile(r"\bStreamingHttpResponse\(")
STATIC_SERVERS = ("whitenoise", "servestatic", "blacknoise")


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((redirects, prefix, prefixes, gzip, static_files), inspected)


def redirects(inspected: Inspected) -> Iterator[Finding]:
    if (
        not django_settings.SECURE_SSL_REDIRECT
        or django_settings.SECURE_PROXY_SSL_HEADER
        or inspected.settings.ssl_certfile
        or all(bind.startswith("unix:") for bind in inspected.settings.bind)  # the proxy is on this machine
        or not all(map(is_loopback, inspected.settings.trusted_proxies))
    ):
        return
    yield found(
        115,
        "SECURE_SSL_REDIRECT sends every visitor to https://, and behind a proxy on another machine the site never "
        "learns that they are there already: every page redirects to itself for ever, and forms fail their CSRF check.",
        'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https"), if the proxy sets that header itself; or name '
        "the "
        "proxy as trusted.",
        level="warning" if inspected.is_reached_from_elsewhere else "info",  # a proxy on this machine is trusted
        object="SECURE_SSL_REDIRECT",
        place=inspected.place_of_setting("SECURE_SSL_REDIRECT"),
    )


def prefix(inspected: Inspected) -> Iterator[Finding]:
    if django.VERSION >= (6, 1):
        return
    for name, value in (("FORCE_SCRIPT_NAME", django_settings.FORCE_SCRIPT_NAME), ("ROOT_PATH", inspected.root_path)):
        if value and value != "/" and value.endswith("/"):
            yield found(
                116,
                f"{name} = {value!r} ends in a slash: before Django 6.1 every URL below it is a 404, because the slash "
                "is taken from its path.",
                f"{name} = {value.rstrip('/')!r}",
                level="error",
                object=name,
                place=inspected.place_of_setting(name),
            )


def prefixes(inspected: Inspected) -> Iterator[Finding]:
    forced, given = django_settings.FORCE_SCRIPT_NAME, inspected.root_path
    if forced and given and forced.rstrip("/") != given.rstrip("/"):
        yield found(
            117,
            f"FORCE_SCRIPT_NAME = {forced!r} and the server's root path {given!r} differ; the setting wins, and links "
            "lead where the proxy doesn't send anybody.",
            "Take FORCE_SCRIPT_NAME out: the server tells Django.",
            object="FORCE_SCRIPT_NAME",
            place=inspected.place_of_setting("FORCE_SCRIPT_NAME"),
        )


def gzip(inspected: Inspected) -> Iterator[Finding]:
    if not (6, 0) <= django.VERSION < (6, 1):
        return
    for number, path in enumerate(django_settings.MIDDLEWARE):
        place = first_place(inspected.modules, STREAM) if _is_gzip(path) else None
        if place:
            yield found(
                119,
                "GZipMiddleware of Django 6.0 holds the parts of an asynchronous stream back: events and progress "
                "arrive at the end, all at once.",
                'On those responses set response["Content-Encoding"] = "identity", or use Django 6.1.',
                object=path,
                place=inspected.place_of_setting("MIDDLEWARE", number) or place,
                chain=(f"{place}: the stream",),
            )


def _is_gzip(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:
        return False
    return isinstance(middleware, type) and issubclass(middleware, GZipMiddleware)


def static_files(inspected: Inspected) -> Iterator[Finding]:
    url = django_settings.STATIC_URL
    if (
        inspected.is_development
        or inspected.settings.static == "off"
        or (collected.obstacle() is None and inspected.handler != "foreign")
        or not url
        or urlsplit(url).netloc
        or not apps.is_installed("django.contrib.staticfiles")
        or any(name in path.lower() for path in _wrappers(inspected) for name in STATIC_SERVERS)
        or any(_overlap(url, mount) for mount in inspected.settings.mounts)
    ):
        return
    yield found(
        121,
        f"Nothing here serves {url} while DEBUG is off: unless the web server in front does, pages come without styles "
        "and scripts.",
        "Let the web server in front serve STATIC_ROOT, or pip install servestatic (or whitenoise) and put its "
        "middleware below SecurityMiddleware.",
        object="STATIC_URL",
        place=inspected.place_of_setting("STATIC_URL"),
    )


def _wrappers(inspected: Inspected) -> Iterator[str]:
    """The names of what is around the views: middleware of Django's kind and of ASGI's, and the application itself."""
    yield from django_settings.MIDDLEWARE
    for entry in inspected.settings.middleware:
        yield entry if isinstance(entry, str) else entry[0]
    app, seen = inspected.application, set[int]()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        yield type(app).__module__
        app = next((value for name in ("app", "application", "inner") if (value := vars_of(app).get(name))), None)


def vars_of(thing: object) -> dict[str, object]:
    return getattr(thing, "__dict__", {})


def _overlap(url: str, mount: str) -> bool:
    return f"/{url.strip('/')}/".startswith(f"/{mount.strip('/')}/")
