"""The one configuration: every option, where its value came from, and what is wrong with it.

A field of Settings is at once the key in ``settings.ASGI_DEPLOY``, the command-line flag, the environment variable
``ASGI_DEPLOY_<KEY>`` and the row in the reference documentation. This is the only module that reads
``django.conf.settings`` for our options.
"""

import dataclasses
import difflib
import json
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django_asgi_deploy.addresses import parse_address
from django_asgi_deploy.exceptions import ConfigurationError

PREFIX = "ASGI_DEPLOY_"

GROUPS = {
    "application": "What is served",
    "network": "Where it listens",
    "tls": "TLS",
    "processes": "Processes and their end",
    "http": "HTTP",
    "server": "The server underneath",
}


def option(
    default: Any, group: str, text: str, *, flag: bool = True, minimum: float | None = None, choices: str | None = None
) -> Any:
    """A field of Settings. ``choices`` describes the values in words where the type alone doesn't."""
    metadata = {"group": group, "help": text, "flag": flag, "minimum": minimum, "choices": choices}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every option with its value; ``origins`` says per key where it came from, ``notes`` what the user should know."""

    application: str | None = option(
        None,
        "application",
        "Import string of the ASGI application, such as mysite.asgi:application; found by itself when not given.",
    )
    handler: Literal["django"] = option("django", "application", "The request handler: Django's own.")
    static: Literal["auto", "off"] = option(
        "auto", "application", "Static files: auto serves them through the finders while DEBUG is on; off never does."
    )
    bind: list[str] = option(
        ["127.0.0.1:8000"],
        "network",
        "Address to listen on: port, host:port, unix:/path or fd://3; may be given again; port 0 takes any free one.",
        choices="addresses",
    )
    backlog: int = option(
        2048, "network", "Connections that may wait in the kernel until they are accepted.", minimum=1
    )
    ssl_certfile: str | None = option(None, "tls", "Certificate chain (PEM); serves HTTPS on every TCP address.")
    ssl_keyfile: str | None = option(None, "tls", "Private key (PEM), when it isn't in the certificate's file.")
    ssl_ca_certs: str | None = option(
        None, "tls", "CA certificates (PEM); clients must then show a certificate that one of these signed."
    )
    workers: int = option(1, "processes", "Worker processes.", minimum=1)
    graceful_timeout_seconds: int = option(
        30, "processes", "Seconds that open requests are given to finish when the server is asked to stop.", minimum=0
    )
    keep_alive_seconds: int = option(
        5, "http", "Seconds after which an idle kept-alive connection is closed.", minimum=1
    )
    access_log: Literal["auto", "text", False] = option(
        "auto", "http", "One line per request: text, off, or auto: text while DEBUG is on, otherwise off."
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
        choices="arguments of uvicorn.Config",
    )

    origins: Mapping[str, str] = field(default_factory=dict, metadata={"internal": True})
    notes: tuple[str, ...] = field(default=(), metadata={"internal": True})

    def items(self) -> Iterable[tuple["Option", Any, str]]:
        """Each option, its value and the origin of the value, in the order of declaration."""
        for each in OPTIONS.values():
            yield each, getattr(self, each.name), self.origins.get(each.key, "default")


@dataclass(frozen=True)
class Option:
    """What the declaration of one field says."""

    name: str
    type: Any
    default: Any
    group: str
    help: str
    flag: bool
    minimum: float | None
    choices: str | None

    @property
    def key(self) -> str:
        return self.name.upper()

    @property
    def variable(self) -> str:
        return PREFIX + self.key

    @property
    def flag_name(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_list(self) -> bool:
        return typing.get_origin(self.type) is list

    @property
    def default_in_words(self) -> str:
        if self.default is None:
            return "none"
        return ", ".join(self.default) if self.is_list else _as_typed(self.default)

    @property
    def expected(self) -> str:
        """The type in words, as messages and the reference use it."""
        at_least = "" if self.minimum is None else f", at least {self.minimum}"
        if typing.get_origin(self.type) is Literal:
            return " or ".join(_as_typed(value) for value in typing.get_args(self.type))
        if self.type is int:
            return f"a whole number{at_least}"
        if self.is_list:
            return f"a list of {self.choices or 'strings'}"
        if typing.get_origin(self.type) is dict:
            return f"a dictionary of {self.choices or 'values'}"
        return "a string"


def _options() -> dict[str, Option]:
    hints = typing.get_type_hints(Settings)
    found = {}
    for each in dataclasses.fields(Settings):
        if "internal" in each.metadata:
            continue
        factory = each.default_factory
        default = each.default if factory is dataclasses.MISSING else factory()
        found[each.name.upper()] = Option(name=each.name, type=hints[each.name], default=default, **each.metadata)
    return found


OPTIONS: Mapping[str, Option] = types.MappingProxyType(_options())


# ------------------------------------------------------------------ loading

Check = Callable[["Settings"], list[str]]


def load(command_line: Mapping[str, Any] | None = None, checks: Iterable[Check] = ()) -> Settings:
    """The settings from all four sources: command line, environment, ``settings.ASGI_DEPLOY``, defaults.

    ``command_line`` maps option keys to the texts given (a list of texts for list options); ``checks`` are asked for
    further problems. Raises ConfigurationError with every problem found, one line each.
    """
    draft = _Draft()
    draft.read_settings(_django_settings("ASGI_DEPLOY"))
    draft.read_platform(os.environ)
    draft.read_environment(os.environ)
    draft.read_command_line(command_line or {})
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
        where = "settings.ASGI_DEPLOY"
        if not isinstance(mapping, Mapping):
            self.problems.append(f"{where} = {_shown(mapping)}: expected a dictionary of options.")
            return
        for key, value in mapping.items():
            if known := OPTIONS.get(key):
                self._take(
                    known,
                    lambda known=known, value=value: _converted(known, value),
                    where,
                    f'{where}["{key}"] = {_shown(value)}',
                )
            else:
                self.problems.append(f'{where}["{key}"]: there is no such option{_nearest(key)}')

    def read_platform(self, environ: Mapping[str, str]) -> None:
        """The two conventional variables, weaker than our own of the same meaning."""
        if count := environ.get("WEB_CONCURRENCY"):
            self._take_text(OPTIONS["WORKERS"], count, "WEB_CONCURRENCY", f"WEB_CONCURRENCY={count}")
        if port := environ.get("PORT"):
            self._read_port(port)

    def _read_port(self, port: str) -> None:
        if "BIND" in self.origins:
            self.notes.append(f"PORT={port} is not used: BIND is given in {self.origins['BIND']}.")
        elif not port.isdecimal():
            self.problems.append(f"PORT={port}: expected a number; it binds 0.0.0.0:$PORT.")
        else:
            self._take_text(OPTIONS["BIND"], f"0.0.0.0:{port}", "PORT", f"PORT={port}")
            self.notes.append(f"PORT={port} in the environment: listening on 0.0.0.0:{port}.")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            if known := OPTIONS.get(variable.removeprefix(PREFIX)):
                self._overrule_port(known, variable)
                self._take_text(known, text, variable, f"{variable}={text}")
            else:
                nearest = _nearest(variable.removeprefix(PREFIX), PREFIX)
                self.notes.append(f"{variable}={text} in the environment is ignored: there is no such option{nearest}")

    def read_command_line(self, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            known = OPTIONS[key]
            flag = known.flag_name
            self._overrule_port(known, flag)
            if known.is_list:
                self._take(
                    known, lambda known=known, value=value: _converted(known, value), flag, f"{flag} {' '.join(value)}"
                )
            else:
                self._take_text(known, value, flag, f"{flag} {value}")

    def _overrule_port(self, known: Option, by: str) -> None:
        if known.key == "BIND" and self.origins.get("BIND") == "PORT":
            self.notes = [note for note in self.notes if not note.startswith("PORT=")]
            self.notes.append(f"PORT={os.environ.get('PORT')} is not used: BIND is given by {by}.")

    def _take_text(self, known: Option, text: str, origin: str, shown: str) -> None:
        self._take(known, lambda: _converted(known, _parsed(known, text)), origin, shown)

    def _take(self, known: Option, value: Callable[[], Any], origin: str, shown: str) -> None:
        try:
            self.values[known.name] = value()
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
    for key in ("SSL_KEYFILE", "SSL_CA_CERTS"):
        if getattr(settings, key.lower()) and not settings.ssl_certfile:
            origin = settings.origins[key]
            problems.append(
                f"{key} ({origin}) needs SSL_CERTFILE beside it: without a certificate nothing is encrypted."
            )
    if settings.workers > 1 and settings.origins["WORKERS"] != "WEB_CONCURRENCY":
        problems.append(
            f"WORKERS = {settings.workers} ({settings.origins['WORKERS']}): more than one worker comes with the "
            "supervisor, which this version doesn't have yet; serve with one worker."
        )
    problems += [
        f"BIND: {text!r} is given twice." for text in sorted(set(settings.bind)) if settings.bind.count(text) > 1
    ]
    if not settings.bind:
        problems.append("BIND is empty: nothing to listen on; leave it out for 127.0.0.1:8000.")
    return problems


# ------------------------------------------------------------------ values


def _parsed(known: Option, text: str) -> Any:
    """The value that a text from the environment or the command line stands for. Raises ValueError."""
    kind = known.type
    if typing.get_origin(kind) is Literal:
        return next((value for value in typing.get_args(kind) if _as_typed(value) == text), text)
    if known.is_list and not text.lstrip().startswith("["):
        return [text]
    if known.is_list or typing.get_origin(kind) is dict:
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"expected {known.expected}, written as JSON ({error})") from None
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"expected {known.expected}") from None
    return text


def _converted(known: Option, value: Any) -> Any:
    """The value itself if it is of the option's type. Raises ValueError saying what was expected."""
    kind = known.type
    if typing.get_origin(kind) is Literal:
        allowed = typing.get_args(kind)
        fits = any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= (known.minimum or 0)
    elif known.is_list:
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return [_checked_address(item) if known.key == "BIND" else item for item in value]
        fits = False
    elif typing.get_origin(kind) is dict:
        fits = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    else:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        fits = (isinstance(value, str) and value != "") or (value is None and known.default is None)
    if not fits:
        raise ValueError(f"expected {known.expected}")
    return value


def _checked_address(text: str) -> str:
    try:
        parse_address(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return text


def _as_typed(value: Any) -> str:
    return "off" if value is False else str(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


# ------------------------------------------------------------------ handing on


def as_environment(command_line: Mapping[str, Any]) -> dict[str, str]:
    """The command line as environment variables, so that ``asgi.py`` and child processes see what was given."""
    return {
        OPTIONS[key].variable: value if isinstance(value, str) else json.dumps(value)
        for key, value in command_line.items()
    }


def as_text(settings: Settings) -> str:
    """A table of key, value and origin."""
    rows = [(each.key, json.dumps(value), origin) for each, value, origin in settings.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)


def as_json(settings: Settings) -> str:
    """``{"KEY": {"value": ..., "origin": "..."}, ...}``"""
    return json.dumps(
        {each.key: {"value": value, "origin": origin} for each, value, origin in settings.items()}, indent=2
    )
