import argparse
import gc
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from django_asgi_deploy import conf
from django_asgi_deploy.exceptions import ASGIDeployError
from django_asgi_deploy.options import Option

if TYPE_CHECKING:
    from django_asgi_deploy.project import Project


class Command(BaseCommand):
    help = "Serves this project over ASGI, in development and production."
    requires_system_checks = []  # they run when the options are known to be right, see project.load
    suppressed_base_arguments = {"--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # An abbreviation that works today could mean something else when there are more options.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("addrport", nargs="?", help="one more --bind: a port, or host:port")
        parser.add_argument(
            "--reload", action="store_true", help="For development: start again whenever a file of the project changes."
        )
        parser.add_argument("--skip-checks", action="store_true", help="Skip system checks, and those of checkasgi.")
        parser.add_argument(
            "--print-config",
            nargs="?",
            const="text",
            choices=("text", "json"),
            help="Print every option with its value and where that came from, and exit.",
        )
        for group, title in conf.GROUPS.items():
            arguments = parser.add_argument_group(title)
            for option in conf.OPTIONS.values():
                if option.flag and option.group == group:
                    _add_option(arguments, option)

    def handle(self, *args: Any, **options: Any) -> None:
        # Nearly all that is made until the project is loaded stays; server.run enables it again, once that is so.
        gc.disable()
        try:
            self._run(options)
        except ASGIDeployError as error:
            raise CommandError(str(error), returncode=error.status) from error
        finally:
            gc.enable()

    def _run(self, options: dict[str, Any]) -> None:
        from django_asgi_deploy import project
        from django_asgi_deploy.checks import djangos, startup
        from django_asgi_deploy.server import config, run

        command_line = _given(options)
        checks: list[Callable[[conf.Settings], list[str]]] = [config.problems]
        serve: Callable[[conf.Settings, run.Command], int] = run.run
        if options["reload"]:
            from django_asgi_deploy.server import reload

            checks, serve = [*checks, reload.problems], reload.run
        settings = conf.load(command_line, checks=checks)
        if options["print_config"]:
            for note in settings.notes:
                self.stderr.write(note)
            self.stdout.write(conf.as_json(settings) if options["print_config"] == "json" else conf.as_text(settings))
            return
        os.environ.update(conf.as_environment(command_line))

        is_checked = not options["skip_checks"]

        def check() -> None:
            """Django's system checks; ours follow when the application is loaded."""
            with djangos.without_ours():
                self.check()

        def load() -> "Project":
            loaded = project.load(settings, settings_option=options["settings"], check=check if is_checked else None)
            if options["reload"]:
                self._notice_migrations()
            if is_checked:
                startup.require_possible(settings, loaded)
            return loaded

        given = run.Command(
            load,
            advise=lambda loaded: startup.advice(settings, loaded) if is_checked else [],
            say=self._say,
            debug=django_settings.DEBUG,
            colour=False if options["no_color"] else True if options["force_color"] else None,
        )
        status = serve(settings, given)
        if status:
            raise SystemExit(status)

    def _notice_migrations(self) -> None:
        """As runserver does: Django's notice of migrations that the database doesn't have yet."""
        try:
            self.check_migrations()
        except DatabaseError as error:
            self.stderr.write(f"Whether migrations are missing can't be seen: {str(error).strip()}")
        connections.close_all()

    def _say(self, text: str) -> None:
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except BrokenPipeError:  # whoever has read it is gone; the server isn't, and what it prints later is for nobody
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _add_option(arguments: argparse._ArgumentGroup, option: Option) -> None:
    # Everything arrives as text: conf checks it, so that all mistakes of all sources are shown at once.
    arguments.add_argument(
        option.flag_name,
        dest=option.name,
        action="append" if option.is_list else "store",
        metavar=option.name.rpartition("_")[2].upper(),
        help=f"{option.help} (default: {option.default_in_words})".replace("%", "%%"),
    )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options on the command line by key, as conf.load takes them."""
    given = {
        option.key: options[option.name] for option in conf.OPTIONS.values() if options.get(option.name) is not None
    }
    if options["addrport"]:
        given["BIND"] = [*given.get("BIND", []), options["addrport"]]
    return given
