import argparse
import contextlib
import os
import shutil
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_asgi_deploy import conf, project
from django_asgi_deploy.checks import databases, report, run, text
from django_asgi_deploy.exceptions import ASGIDeployError, ConfigurationError
from django_asgi_deploy.server import config

FOUND, COULD_NOT_CHECK = 1, 2
UNLIMITED = 10_000  # columns: what isn't a terminal wraps its lines itself


class Command(BaseCommand):
    help = (
        "Checks this project for ASGI: imports it as runasgi would, and drives it in this process. Exits with 0; "
        "with 1 if an error was found; with 2 if it could not check."
    )
    requires_system_checks = []  # as in runasgi: project.load runs them
    suppressed_base_arguments = {"--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url",
            action="append",
            type=_path,
            metavar="PATH",
            help="A path to request, with GET (three times) and HEAD; may be given again (default: /).",
        )
        parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
        parser.add_argument(
            "--timeout",
            type=_seconds,
            default=10.0,
            metavar="SECONDS",
            help="How long an answer may take (default: 10).",
        )
        parser.add_argument("--yes", action="store_true", help="Also where a database isn't on this machine.")
        parser.add_argument("--skip-checks", action="store_true", help="Skip system checks.")
        for option in conf.OPTIONS.values():
            if option.flag and option.group == "application":
                words = f"As in runasgi. {option.help}".replace("%", "%%")
                parser.add_argument(option.flag_name, metavar=option.name.rpartition("_")[2].upper(), help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # What the project prints must not get between the lines of a report that a program reads.
            with contextlib.redirect_stdout(sys.stderr):
                found = self._check(options)
        except ConfigurationError as error:
            problems = error.problems
            head = f"{len(problems)} problems in the configuration:\n  - " if len(problems) > 1 else ""
            raise CommandError(head + "\n  - ".join(problems), returncode=COULD_NOT_CHECK) from error
        except (ASGIDeployError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=COULD_NOT_CHECK) from error
        if options["format"] == "json":
            self.stdout.write(report.as_json(found))
        else:
            width = shutil.get_terminal_size().columns if self.stdout.isatty() else UNLIMITED
            self.stdout.write(text.as_text(found, self.style, width))
        self._end(FOUND if found.count("error") else 0, found.left_behind)

    def _check(self, options: dict[str, Any]) -> report.Report:
        given = {option.key: options[option.name] for option in conf.OPTIONS.values() if options.get(option.name)}
        settings = conf.load(given, checks=[config.problems])
        os.environ.update(conf.as_environment(given))
        elsewhere = databases.elsewhere()
        if elsewhere and not options["yes"]:
            raise CommandError(
                f"The views that are requested may write, and not every database is on this machine: "
                f"{', '.join(elsewhere)}. To check all the same: checkasgi --yes",
                returncode=COULD_NOT_CHECK,
            )
        check = None if options["skip_checks"] else self.check
        loaded = project.load(settings, settings_option=options["settings"], check=check)
        return run.run(settings, loaded, options["url"] or ["/"], options["timeout"])

    def _end(self, status: int, left_behind: bool) -> None:
        if left_behind:  # a thread that hangs would keep the process from ending
            self.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        if status:
            raise SystemExit(status)


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
