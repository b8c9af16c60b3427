"""The one configuration: every option, where its value came from, and what is wrong with it.

A field of Settings is at once the key in ``settings.ASGI_DEPLOY``, the command-line flag, the environment variable
``ASGI_DEPLOY_<KEY>`` and the row in the reference documentation. This is the only module that reads
``django.conf.settings`` for our options.

Over 400 lines, because the options are in one class: whoever looks for one, or for what contradicts it, looks here.
"""

import difflib
import importlib.util
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from django_asgi_deploy.addresses import parse_address
from django_asgi_deploy.exceptions import ConfigurationError
from django_asgi_deploy.lines import check_format
from django_asgi_deploy.options import Option, option, options_of
from django_asgi_deploy.origins import OriginPattern
from django_asgi_deploy.prefixes import parse_prefix
from django_asgi_deploy.proxies import CLIENT_HEADERS, check_forwarded_header, parse_proxy
from django_asgi_deploy.server import channel, cpus, systemd

PREFIX = "ASGI_DEPLOY_"

GROUPS = {
    "application": "What is served",
    "lifespan": "Start and end of a worker",
    "network": "Where it listens",
    "proxy": "Behind a proxy",
    "tls": "TLS",
    "processes": "Processes and their end",
    "limits": "Limits",
    "http": "HTTP",
    "health": "Health",
    "observing": "Logs and metrics",
    "server": "The server underneath",
}


SETTINGS = "settings.ASGI_DEPLOY"
IS_LINUX = sys.platform == "linux"

# Options that ask for something that only a supervisor can do.
OF_THE_SUPERVISOR = (
    "WORKERS",
    "PRELOAD",
    "BOOT_TIMEOUT_SECONDS",
    "HEARTBEAT_TIMEOUT_SECONDS",
    "MAX_REQUESTS",
    "MAX_LIFETIME_SECONDS",
    "MAX_RSS_BYTES",
)


def check_middleware(entry: object) -> None:
    match entry:
        case str() | (str(), {}):
            return
    raise ValueError("expected an import string, or a pair of an import string and a dictionary of options")


def check_mount(prefix: str) -> None:
    if not parse_prefix(prefix):
        raise ValueError('Django itself is there; expected a prefix such as "/api"')


def check_root_path(text: str) -> None:
    if not parse_prefix(text) or text.endswith("/") or "%" in text:
        raise ValueError('expected a prefix without a slash at the end, such as "/shop"')


def check_path(text: str) -> None:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError('expected a path from the root, such as "/healthz"')


def check_parameter_name(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.:$~\[\]-]+", text):
        raise ValueError('expected the name of a parameter, such as "iban" or "user[email]"')


def check_header_name(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise ValueError('expected the name of a header, such as "x-request-id"')


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every option with its value; ``origins`` says per key where it came from, ``notes`` what the user should know."""

    application: str | None = option(
        None,
        "application",
        "Import string of the ASGI application, such as mysite.asgi:application; found by itself when not given.",
    )
    handler: Literal["pooled", "django"] = option(
        "pooled",
        "application",
        "The request handler: pooled is ours, with a bounded pool of threads; django is Django's.",
    )
    threads: int = option(8, "application", "Threads of the pooled handler, for synchronous code.", minimum=1)
    thread_queue_timeout_seconds: int | None = option(
        None,
        "application",
        "Seconds that a request may wait for a thread of the pooled handler until it is answered with 503.",
        minimum=1,
    )
    static: Literal["auto", "off"] = option(
        "auto",
        "application",
        "Static files: auto serves them through the finders while DEBUG is on, and otherwise from STATIC_ROOT; off "
        "never does.",
    )
    middleware: list[Any] = option(
        [],
        "application",
        "ASGI middleware around everything, mounts included, the outermost first: import strings, or pairs of an "
        "import string and a dictionary of options.",
        flag=False,
        items="import strings, or pairs of an import string and a dictionary of options",
        check=check_middleware,
    )
    mounts: dict[str, str] = option(
        {},
        "application",
        "Other ASGI applications: a prefix such as /api, and the import string of what answers below it.",
        flag=False,
        items="prefixes and import strings",
        check=check_mount,
    )
    websocket: str | None = option(
        None,
        "application",
        "Import string of the ASGI application that takes WebSockets; without it, handshakes are denied.",
    )
    websocket_allowed_origins: list[str] = option(
        [],
        "application",
        "Beside ALLOWED_HOSTS: whose pages may open a WebSocket, as in https://example.com, .example.com or *.",
        items="origins",
        check=OriginPattern.parse,
    )
    lifespan: list[str] = option(
        [],
        "lifespan",
        "Context managers that each worker is inside of, the outermost first: import strings of what makes them from "
        'the application. What they yield goes to request.scope["state"].',
        flag=False,
        items="import strings",
    )
    bind: list[str] = option(
        ["127.0.0.1:8000"],
        "network",
        "Address to listen on: port, host:port, unix:/path?mode=660, fd://3 or systemd:; may be given again; port 0 "
        "takes any free one.",
        items="addresses",
        check=parse_address,
    )
    backlog: int = option(
        2048, "network", "Connections that may wait in the kernel until they are accepted.", minimum=1
    )
    reuse_port: Literal["off", "on"] = option(
        "off",
        "network",
        "on: other programs of the same user that ask for it, too, may listen on the same TCP ports, as two releases "
        "do for a moment; the kernel divides the connections among them.",
    )
    root_path: str | None = option(
        None,
        "proxy",
        "Prefix that the site is served under, such as /shop, whether the proxy strips it or not.",
        check=check_root_path,
    )
    trusted_proxies: list[str] = option(
        ["127.0.0.0/8", "::1", "unix"],
        "proxy",
        "Who is believed to be a proxy: addresses, networks, unix (whoever connects to a unix socket), or * (everybody "
        "who connects).",
        items="addresses and networks, unix or *",
        check=parse_proxy,
    )
    forwarded_headers: list[str] = option(
        ["x-forwarded-for", "x-forwarded-proto"],
        "proxy",
        "The headers that the proxy sets; whatever else is forwarded is the client's own, and ignored.",
        items="names of headers",
        check=check_forwarded_header,
    )
    ssl_certfile: str | None = option(None, "tls", "Certificate chain (PEM); serves HTTPS on every address.")
    ssl_keyfile: str | None = option(None, "tls", "Private key (PEM), when it isn't in the certificate's file.")
    ssl_ca_certs: str | None = option(
        None, "tls", "CA certificates (PEM); clients must then show a certificate that one of these signed."
    )
    ssl_handshake_timeout_seconds: int = option(
        10, "tls", "Seconds that a client may take for the TLS handshake.", minimum=1
    )
    workers: int | Literal["auto"] = option(
        1,
        "processes",
        "Worker processes; auto: one for each CPU that this process may use, by its affinity and by the quota of its "
        "control group, as containers have one.",
        minimum=1,
    )
    supervisor: Literal["auto", "on", "off"] = option(
        "auto",
        "processes",
        "A process that watches and replaces the workers: auto has one if there may be several, if an option needs it, "
        "and as process 1 of a container.",
    )
    preload: Literal["auto", "on", "off"] = option(
        "auto",
        "processes",
        "Import the project once and fork the workers: auto does unless the import leaves threads running.",
    )
    boot_timeout_seconds: int = option(
        60, "processes", "Seconds that importing the project, and then each worker's start, may take.", minimum=1
    )
    heartbeat_timeout_seconds: int = option(
        30,
        "processes",
        "Seconds that a worker's event loop may stand still; then it is replaced. Its stacks are logged at half of it.",
        minimum=2,
    )
    drain_delay_seconds: int = option(
        0,
        "processes",
        "Seconds that a stopping server goes on as before, so that load balancers notice that it isn't ready any more.",
        minimum=0,
    )
    graceful_timeout_seconds: int = option(
        30, "processes", "Seconds that open requests are given to finish when the server is asked to stop.", minimum=0
    )
    warmup: list[str] = option(
        [],
        "processes",
        "What each worker runs before it takes connections: paths such as /, and import strings of callables.",
        items="paths and import strings",
    )
    max_requests: int | None = option(None, "processes", "Requests after which a worker is replaced.", minimum=1)
    max_requests_jitter: int = option(
        0, "processes", "Up to so many more for each worker, at random, so that not all are due at once.", minimum=0
    )
    max_lifetime_seconds: int | None = option(None, "processes", "Age at which a worker is replaced.", minimum=1)
    max_rss_bytes: int | None = option(None, "processes", "Resident memory at which a worker is replaced.", minimum=1)
    pid_file: str | None = option(None, "processes", "File that holds the process ID while the server runs.")
    process_name: str | None = option(
        None,
        "processes",
        "What ps shows in the place of the command line, with each process's role; needs setproctitle.",
    )
    max_body_bytes: int | None = option(
        None, "limits", "Bytes that the body of a request may have; one that has more is answered with 413.", minimum=1
    )
    request_timeout_seconds: int | None = option(
        None,
        "limits",
        "Seconds to the beginning of a response, from the last piece of the request on; then the answer is 504.",
        minimum=1,
    )
    max_in_flight: int | None = option(
        None, "limits", "Requests of one worker at once; others wait for their turn. WebSockets don't count.", minimum=1
    )
    in_flight_timeout_seconds: int = option(
        5, "limits", "Seconds that a request waits for its turn until it is answered with 503.", minimum=0
    )
    max_header_bytes: int = option(
        65536,
        "limits",
        "Bytes that the request line and the header section may have together; the answer to more is 431 or 414.",
        minimum=1024,
    )
    header_timeout_seconds: int = option(
        10, "limits", "Seconds that a client may take for a header section; then it is answered with 408.", minimum=1
    )
    body_timeout_seconds: int = option(
        30,
        "limits",
        "Seconds that may pass until a client has sent the next bit of the body, 500 bytes for each second; then it is "
        "answered with 408.",
        minimum=1,
    )
    send_timeout_seconds: int = option(
        30,
        "limits",
        "Seconds that may pass until a client has read the next bit of a response that waits for it, 500 bytes for "
        "each second; then its connection is cut.",
        minimum=1,
    )
    keep_alive_seconds: int = option(
        5, "http", "Seconds after which a connection is closed on which no request has begun.", minimum=1
    )
    live_path: str | None = option(
        None,
        "health",
        "Path that is answered with 200 as long as the event loop runs, before Django, such as /livez.",
        check=check_path,
    )
    ready_path: str | None = option(
        None,
        "health",
        "Path that is answered with 200 while all READY_CHECKS pass, and otherwise, as while draining, with 503.",
        check=check_path,
    )
    ready_checks: list[str] = option(
        [],
        "health",
        "What READY_PATH asks: database, cache or migrations, each also as in database:replica, or import strings of "
        "functions and of django-health-check's checks.",
        flag=False,
        items="names of checks or import strings",
    )
    ready_timeout_seconds: int = option(
        3, "health", "Seconds that each of READY_CHECKS may take before it counts as failed.", minimum=1
    )
    access_log: Literal["auto", "text", "json", False] | str = option(
        "auto",
        "observing",
        "One line per request: text, json, a format, off, or auto: text while DEBUG is on, otherwise off.",
        items='a format such as "{path} {status}"',
        check=check_format,
    )
    access_log_masked: list[str] = option(
        [],
        "observing",
        "Names of parameters in query strings whose values the access log hides, beside those that look like secrets.",
        items="names",
        check=check_parameter_name,
    )
    request_id_header: str | None = option(
        None,
        "observing",
        "Header with the id of the request: taken from trusted proxies, made where it is missing, and returned.",
        check=check_header_name,
    )
    metrics_path: str | None = option(
        None,
        "observing",
        "Path that answers trusted clients with metrics for Prometheus, such as /metrics.",
        check=check_path,
    )
    loop: str = option(
        "auto",
        "server",
        "Event loop: auto (uvloop where it is installed), uvloop, asyncio, or an import string.",
    )
    http: str = option(
        "auto",
        "server",
        "HTTP implementation: auto (httptools where it is installed), httptools, h11, or an import string.",
    )
    uvicorn: dict[str, Any] = option(
        {},
        "server",
        "Whatever else uvicorn.Config takes, by its own names.",
        flag=False,
        items="arguments of uvicorn.Config",
    )

    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def items(self) -> Iterable[tuple[Option, Any, str]]:
        """Each option, its value and the origin of the value, in the order of declaration."""
        for each in OPTIONS.values():
            yield each, getattr(self, each.name), self.origins.get(each.key, "default")

    @cached_property
    def workers_decided(self) -> tuple[int, str]:
        """How many workers there are to be now, and the rule that says so; "" where a number was given."""
        if self.workers != "auto":
            return self.workers, ""
        return cpus.count() if IS_LINUX else (1, "more need Linux")

    @property
    def needs_supervisor(self) -> list[str]:
        """The options that were given and that only a supervisor can obey, each with its origin.

        WORKERS = "auto" is one of them even if it comes to one worker: on the next machine, or at the next SIGHUP, it
        may be more, and the signals are to mean the same.
        """
        given = [key for key in OF_THE_SUPERVISOR if getattr(self, key.lower()) != OPTIONS[key].default]
        if self.workers == "auto" and not IS_LINUX:
            given.remove("WORKERS")
        return [f"{key} ({self.origins[key]})" for key in given]

    @property
    def is_supervised(self) -> bool:
        return self.supervisor == "on" or (self.supervisor == "auto" and bool(self.needs_supervisor))

    def where(self, key: str) -> str:
        """Where the value was given, for messages."""
        origin = self.origins.get(key, "default")
        return f'{SETTINGS}["{key}"]' if origin == SETTINGS else origin


OPTIONS: Mapping[str, Option] = types.MappingProxyType(options_of(Settings, PREFIX))


# ------------------------------------------------------------------ loading

Check = Callable[["Settings"], list[str]]


def load(command_line: Mapping[str, Any] | None = None, checks: Iterable[Check] = ()) -> Settings:
    """The settings from all four sources: command line, environment, ``settings.ASGI_DEPLOY``, defaults.

    ``command_line`` maps option keys to the texts given (a list of texts for list options); ``checks`` are asked for
    further problems. Raises ConfigurationError with every problem found, one line each.
    """
    draft = _Draft()
    draft.read_settings(_django_settings("ASGI_DEPLOY"))
    draft.read_concurrency(os.environ)
    draft.read_environment(os.environ)
    draft.read_command_line(command_line or {})
    draft.fall_back_to_systemd(os.environ)
    draft.fall_back_to_port(os.environ)
    draft.fall_back_to_forwarded_allow_ips(os.environ)
    settings = Settings(**draft.values, origins=draft.origins, notes=tuple(draft.notes))
    problems = [*draft.problems, *_contradictions(settings)]
    for check in checks:
        problems += check(settings)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _django_settings(name: str) -> Any:
    from django.conf import settings

    return getattr(settings, name, {})


class _Draft:
    """Values as the sources give them, later ones over earlier ones, and what was wrong with those left out."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []

    def read_settings(self, mapping: Any) -> None:
        where = SETTINGS
        if not isinstance(mapping, Mapping):
            self.problems.append(f"{where} = {_shown(mapping)}: expected a dictionary of options.")
            return
        for key, value in mapping.items():
            if known := OPTIONS.get(key):
                self._take(known, value, where, f'{where}["{key}"] = {_shown(value)}')
            else:
                self.problems.append(f'{where}["{key}"]: there is no such option{_nearest(key)}')

    def read_concurrency(self, environ: Mapping[str, str]) -> None:
        """WEB_CONCURRENCY, which a platform sets unasked: not worth refusing to start."""
        count = environ.get("WEB_CONCURRENCY", "")
        if not count:
            return
        if count != "auto" and not (count.isdecimal() and int(count)):
            self.notes.append(f"WEB_CONCURRENCY={count} is ignored: expected a number of workers, or auto.")
        elif IS_LINUX or count in ("1", "auto"):
            self._take_text(OPTIONS["WORKERS"], count, "WEB_CONCURRENCY", f"WEB_CONCURRENCY={count}")
        else:
            self.notes.append(f"WEB_CONCURRENCY={count} is ignored: more than one worker needs Linux.")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        for variable, text in environ.items():
            if not (variable.startswith(PREFIX) and text):  # empty is how Compose says "not set"
                continue
            if known := OPTIONS.get(variable.removeprefix(PREFIX)):
                self._take_text(known, text, variable, f"{variable}={text}")
            else:
                nearest = _nearest(variable.removeprefix(PREFIX), PREFIX)
                self.notes.append(f"{variable}={text} in the environment is ignored: there is no such option{nearest}")

    def read_command_line(self, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            known = OPTIONS[key]
            flag = known.flag_name
            if known.is_list:
                self._take(known, value, flag, flag)
            else:
                self._take_text(known, value, flag, f"{flag} {value}")

    def fall_back_to_systemd(self, environ: Mapping[str, str]) -> None:
        """The sockets that systemd opened for this process, unless a bind is given."""
        # A version that the supervisor has started serves the supervisor's sockets.
        if not (systemd.is_activated(environ) or (channel.VARIABLE in environ and "LISTEN_FDS" in environ)):
            return
        if origin := self.origins.get("BIND"):
            asks = any(text.startswith(("systemd:", "fd://")) for text in self.values["bind"])
            self.notes += [] if asks else [f"The sockets of systemd are not used: BIND is given by {origin}."]
        else:
            self._take(OPTIONS["BIND"], ["systemd:"], "LISTEN_FDS", "LISTEN_FDS")
            self.notes.append("LISTEN_FDS in the environment: listening on the sockets that systemd opened.")

    def fall_back_to_port(self, environ: Mapping[str, str]) -> None:
        """PORT, which many platforms set, binds 0.0.0.0:$PORT unless a bind is given."""
        port = environ.get("PORT")
        if not port:
            return
        if origin := self.origins.get("BIND"):
            self.notes.append(f"PORT={port} is not used: BIND is given by {origin}.")
        elif port.isdecimal():
            self._take_text(OPTIONS["BIND"], f"0.0.0.0:{port}", "PORT", f"PORT={port}")
            self.notes.append(f"PORT={port} in the environment: listening on 0.0.0.0:{port}.")
        else:
            self.problems.append(f"PORT={port}: expected a number; it binds 0.0.0.0:$PORT.")

    def fall_back_to_forwarded_allow_ips(self, environ: Mapping[str, str]) -> None:
        """FORWARDED_ALLOW_IPS, by which uvicorn and gunicorn are told the same as TRUSTED_PROXIES tells us."""
        variable = "FORWARDED_ALLOW_IPS"
        text = environ.get(variable)
        if not text:
            return
        if origin := self.origins.get("TRUSTED_PROXIES"):
            self.notes.append(f"{variable}={text} is not used: TRUSTED_PROXIES is given by {origin}.")
            return
        entries = [*filter(None, map(str.strip, text.split(",")))]
        self._take(OPTIONS["TRUSTED_PROXIES"], entries, variable, f"{variable}={text}")
        self.notes.append(f"{variable}={text} in the environment: taken for TRUSTED_PROXIES.")

    def _take_text(self, known: Option, text: str, origin: str, shown: str) -> None:
        try:
            value = known.parse(text)
        except ValueError as error:
            self.problems.append(f"{shown}: {error}.")
        else:
            self._take(known, value, origin, shown)

    def _take(self, known: Option, value: Any, origin: str, shown: str) -> None:
        try:
            self.values[known.name] = known.convert(value)
        except ValueError as error:
            self.problems.append(f"{shown}: {error}.")
        else:
            self.origins[known.key] = origin


def _nearest(key: Any, prefix: str = "") -> str:
    near = difflib.get_close_matches(str(key).upper(), OPTIONS, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else "."


def _contradictions(settings: Settings) -> list[str]:
    """Combinations that can't be meant."""
    problems = []
    if not settings.ssl_certfile:
        in_vain = [
            f"{key} ({settings.origins[key]})" for key in ("SSL_KEYFILE", "SSL_CA_CERTS") if key in settings.origins
        ]
        in_vain += [f'UVICORN["{name}"]' for name in settings.uvicorn if name.startswith("ssl_")]
        problems += [
            f"{what} needs SSL_CERTFILE beside it: without a certificate nothing is encrypted." for what in in_vain
        ]
    problems += _supervisor_contradictions(settings)
    if settings.websocket_allowed_origins and not settings.websocket:
        where = settings.origins["WEBSOCKET_ALLOWED_ORIGINS"]
        problems.append(f"WEBSOCKET_ALLOWED_ORIGINS ({where}) needs WEBSOCKET beside it: it is for that application.")
    problems += _needing(settings, "READY_PATH", "READY_CHECKS", "READY_TIMEOUT_SECONDS")
    problems += _needing(settings, "MAX_IN_FLIGHT", "IN_FLIGHT_TIMEOUT_SECONDS")
    if settings.live_path and settings.live_path == settings.ready_path:
        problems.append(f"LIVE_PATH and READY_PATH are both {settings.live_path!r}: they give different answers.")
    problems += [
        f"{key}: {item!r} is given twice." for key in ("LIFESPAN", "READY_CHECKS") for item in _twice(settings, key)
    ]
    clients = [name.lower() for name in settings.forwarded_headers if name.lower() in CLIENT_HEADERS]
    if len(clients) > 1:
        problems.append(
            f"FORWARDED_HEADERS ({settings.origins['FORWARDED_HEADERS']}): {' and '.join(clients)} all say who the "
            "client is; name the one that your proxy sets, since it passes the others through."
        )
    if len(set(map(parse_prefix, settings.mounts))) < len(settings.mounts):
        prefixes = ", ".join(map(repr, settings.mounts))
        problems.append(f"MOUNTS ({settings.origins['MOUNTS']}): two of {prefixes} are the same.")
    twice = {text for text in settings.bind if settings.bind.count(text) > 1 and not _takes_any_port(text)}
    problems += [f"BIND: {text!r} is given twice." for text in sorted(twice)]
    if settings.reuse_port == "on" and not IS_LINUX:
        problems.append(
            f"REUSE_PORT ({settings.origins['REUSE_PORT']}): needs Linux; elsewhere, the system doesn't divide the "
            "connections among those that share a port."
        )
    if not settings.bind:
        problems.append("BIND is empty: nothing to listen on; leave it out for 127.0.0.1:8000.")
    return problems


def _needing(settings: Settings, needed: str, *keys: str) -> list[str]:
    """A line for each of ``keys`` that was given although ``needed``, which it is for, wasn't."""
    if getattr(settings, needed.lower()) is not None:
        return []
    return [
        f"{key} ({settings.origins[key]}) needs {needed} beside it: it has no effect without."
        for key in keys
        if key in settings.origins
    ]


def _twice(settings: Settings, key: str) -> list[str]:
    items = getattr(settings, key.lower())
    return sorted({item for item in items if items.count(item) > 1})


def _supervisor_contradictions(settings: Settings) -> list[str]:
    problems = []
    needing = settings.needs_supervisor
    if needing and settings.supervisor == "off":
        problems.append(
            f"SUPERVISOR = 'off' ({settings.origins['SUPERVISOR']}): {', '.join(needing)} "
            f"need{'s' * (len(needing) == 1)} the supervisor; leave SUPERVISOR out."
        )
    elif settings.is_supervised and not IS_LINUX:
        what = ", ".join(needing) or f"SUPERVISOR ({settings.origins['SUPERVISOR']})"
        problems.append(f"{what}: the supervisor needs Linux. On this system, one worker without these options serves.")
    if settings.pid_file and sys.platform == "win32":
        problems.append(
            f"PID_FILE ({settings.origins['PID_FILE']}): on Windows, nobody can ask whether the process of an old file "
            "is alive; leave it out."
        )
    if settings.max_requests_jitter and settings.max_requests is None:
        problems.append(
            f"MAX_REQUESTS_JITTER ({settings.origins['MAX_REQUESTS_JITTER']}) needs MAX_REQUESTS beside it."
        )
    if settings.process_name and not importlib.util.find_spec("setproctitle"):
        problems.append(
            f"PROCESS_NAME ({settings.origins['PROCESS_NAME']}) needs a package: "
            'python -m pip install "django-asgi-deploy[process-name]"'
        )
    return problems


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _takes_any_port(text: str) -> bool:
    return getattr(parse_address(text), "port", None) == 0


# ------------------------------------------------------------------ handing on


def as_environment(command_line: Mapping[str, Any]) -> dict[str, str]:
    """The command line as environment variables, so that ``asgi.py`` and child processes see what was given."""
    return {
        OPTIONS[key].variable: value if isinstance(value, str) else json.dumps(value)
        for key, value in command_line.items()
    }


def as_text(settings: Settings) -> str:
    """A table of key, value and origin; behind that, what an "auto" comes to."""
    rows = []
    for each, value, origin in settings.items():
        if decided := _decided(settings, each.key):
            origin += f" ({decided[0]} now: {decided[1]})"
        rows.append((each.key, json.dumps(value, default=repr), origin))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)


def as_json(settings: Settings) -> str:
    """``{"KEY": {"value": ..., "origin": "..."}, ...}``, and ``now`` and ``rule`` where "auto" comes to something."""
    shown: dict[str, dict[str, Any]] = {}
    for each, value, origin in settings.items():
        shown[each.key] = {"value": value, "origin": origin}
        if decided := _decided(settings, each.key):
            shown[each.key] |= {"now": decided[0], "rule": decided[1]}
    return json.dumps(shown, indent=2, default=repr)


def _decided(settings: Settings, key: str) -> tuple[int, str] | None:
    return settings.workers_decided if key == "WORKERS" and settings.workers == "auto" else None
