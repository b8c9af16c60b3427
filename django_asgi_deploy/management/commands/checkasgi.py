import argparse
import contextlib
import os
import shutil
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_asgi_deploy import conf
from django_asgi_deploy.checks import catalogue, databases, djangos, inspected, pages, probing, report, run, text
from django_asgi_deploy.checks.catalogue import LEVELS
from django_asgi_deploy.exceptions import ASGIDeployError, ProjectError
from django_asgi_deploy.server import config

FOUND, COULD_NOT_CHECK = 1, 2
UNLIMITED = 10_000  # columns: what isn't a terminal wraps its lines itself


class Command(BaseCommand):
    help = (
        "Says what would go wrong with this project over ASGI. Without --probe nothing is run but imports: no request, "
        "no query. Exits with 0; with 1 if something of --fail-level was found; with 2 if it could not check."
    )
    requires_system_checks = []  # they are a part of the report
    suppressed_base_arguments = {"--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=("text", "json", "github"), default="text", help="(default: text)")
        parser.add_argument(
            "--fail-level",
            type=str.lower,
            choices=LEVELS,
            default="error",
            help="From which level on a finding makes the exit status 1 (default: error).",
        )
        parser.add_argument("--explain", metavar="NUMBER", help="Print what a check is about, and exit.")
        parser.add_argument("--skip-checks", action="store_true", help="Without Django's own checks.")
        probe = parser.add_argument_group("Driving the application")
        probe.add_argument(
            "--probe", action="store_true", help="Also request pages, with GET and HEAD, in a process of its own."
        )
        probe.add_argument(
            "--url",
            action="append",
            type=_path,
            metavar="PATH",
            help="A path to request; may be given again (default: every page; where its URL has arguments, only the "
            "project's own).",
        )
        probe.add_argument(
            "--ws-url",
            action="append",
            type=_path,
            metavar="PATH",
            help="A path to open a WebSocket to; may be given again (default: every one that is known, or none with "
            "--url).",
        )
        probe.add_argument(
            "--timeout",
            type=_seconds,
            default=10.0,
            metavar="SECONDS",
            help="How long an answer may take (default: 10).",
        )
        probe.add_argument(
            "--yes", action="store_true", help="Also where a database or a channel layer isn't on this machine."
        )
        arguments = parser.add_argument_group("As in runasgi")
        for option in conf.OPTIONS.values():
            if option.flag:
                arguments.add_argument(
                    option.flag_name,
                    dest=option.name,
                    action="append" if option.is_list else "store",
                    metavar=option.name.rpartition("_")[2].upper(),
                    help=argparse.SUPPRESS if option.group != "application" else option.help.replace("%", "%%"),
                )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["explain"]:
            self.stdout.write(_page(options["explain"]))
            return
        for flag, paths in (("--url", options["url"]), ("--ws-url", options["ws_url"])):
            if paths and not options["probe"]:
                raise CommandError(
                    f"{flag} {paths[0]} is requested with --probe only: checkasgi --probe {flag} ...",
                    returncode=COULD_NOT_CHECK,
                )
        try:
            # What the project prints must not get between the lines of a report that a program reads.
            with contextlib.redirect_stdout(sys.stderr):
                found, reason = self._check(options)
        except (ASGIDeployError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=COULD_NOT_CHECK) from error
        self._show(found, options["format"])
        if reason:
            raise CommandError(reason, returncode=COULD_NOT_CHECK)
        failing = LEVELS[: LEVELS.index(options["fail_level"]) + 1]
        if any(found.findings.count(level) for level in failing):
            raise SystemExit(FOUND)

    def _check(self, options: dict[str, Any]) -> tuple[report.Report, str]:
        """The report, and why the project couldn't be driven, if it should have been."""
        given = {each.key: options[each.name] for each in conf.OPTIONS.values() if options.get(each.name) is not None}
        settings = conf.load(given, checks=[config.problems])
        os.environ.update(conf.as_environment(given))
        if options["probe"]:
            _require_local_databases(options["yes"])
        try:
            subject = inspected.load(settings, settings_option=options["settings"])
        except ProjectError as error:
            return _without_urls(settings, error)
        found = report.Report(subject, run.run(subject))
        if not options["skip_checks"]:
            found.findings.add(djangos.check())
        if not options["probe"]:
            return found, ""
        if subject.problem:
            return found, "The application can't be driven, because it can't be loaded."
        wanted = probing.Wanted(
            options["url"] or [],
            options["timeout"],
            options["ws_url"] or [],
            is_sent_elsewhere=options["yes"],
            settings_option=options["settings"],
            shows_progress=self.stderr.isatty(),
        )
        try:
            found.probed = probing.probe(wanted)
        except ASGIDeployError as error:
            return found, str(error)
        found.findings.confirm(found.probed.findings)
        if found.probed.serves_static:
            found.findings.drop(121)
        return found, ""

    def _show(self, found: report.Report, form: str) -> None:
        if form == "json":
            self.stdout.write(report.as_json(found))
        elif form == "github":
            self.stdout.write(report.as_github(found))
        else:
            width = shutil.get_terminal_size().columns if self.stdout.isatty() else UNLIMITED
            self.stdout.write(text.as_text(found, self.style, width))


def _without_urls(settings: conf.Settings, error: ProjectError) -> tuple[report.Report, str]:
    """Where the URLconf can't be imported: what can be found all the same, which may be the reason."""
    subject = inspected.Inspected(settings, problem=error)
    findings = run.run(subject, run.WITHOUT_URLS)
    if not findings.shown:
        raise error
    return report.Report(subject, findings), str(error)


def _page(name: str) -> str:
    check = catalogue.find(name)
    if check is None or not pages.exists(check.number):
        known = ", ".join(f"{each.number} {each.slug}" for each in pages.index())
        raise CommandError(f"--explain {name}: there is no such check. There are: {known}", returncode=COULD_NOT_CHECK)
    return pages.page(check.number)


def _require_local_databases(yes: bool) -> None:
    elsewhere = databases.elsewhere()
    if elsewhere and not yes:
        raise CommandError(
            f"The views that are requested may write, and not every database is on this machine: "
            f"{', '.join(elsewhere)}. To check all the same: checkasgi --probe --yes",
            returncode=COULD_NOT_CHECK,
        )


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise argparse.ArgumentTypeError(f"{value!r}: expected a path of the site, such as /shop/?page=2")
    return value


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r}: expected a number of seconds, more than 0")
    return seconds
