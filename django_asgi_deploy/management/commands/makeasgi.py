import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_asgi_deploy import conf, importer
from django_asgi_deploy.deployment import systemd
from django_asgi_deploy.deployment.asgi_module import Plan, RefusedError, find_file, plan
from django_asgi_deploy.deployment.render import PROJECT_TEMPLATE
from django_asgi_deploy.exceptions import ASGIDeployError, ExitStatus


class Command(BaseCommand):
    help = "Writes the files that a deployment of this project needs: asgi.py, or the units of systemd."
    requires_system_checks = []
    suppressed_base_arguments = {"--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", nargs="?", choices=("asgi", "systemd"), help="what to make")
        parser.add_argument("--diff", action="store_true", help="Show what would change, and write nothing.")
        parser.add_argument(
            "--force", action="store_true", help="Replace a file that isn't understood, and lose what is in it."
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="PATH",
            help="The file, or the folder for asgi.py, instead of the project's; the folder for the units, which are "
            "shown otherwise.",
        )
        parser.add_argument(
            "--template-path",
            action="store_true",
            help="Print the folder of our project template, for django-admin startproject --template.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["template_path"]:
            self.stdout.write(str(PROJECT_TEMPLATE))
            return
        if options["target"] is None:
            raise CommandError(
                "What is to be made? Type: makeasgi asgi, or: makeasgi systemd", returncode=ExitStatus.USAGE
            )
        try:
            if options["target"] == "systemd":
                self._make_units(options)
            else:
                self._make_asgi(options)
        except ASGIDeployError as error:
            raise CommandError(str(error), returncode=error.status) from error

    def _make_asgi(self, options: dict[str, Any]) -> None:
        settings_module = importer.find_settings_module(option=options["settings"]).name
        if output := options["output"]:
            file = output / "asgi.py" if output.is_dir() else output
        else:
            file = find_file(
                settings_module,
                getattr(django_settings, "ASGI_APPLICATION", None),
                getattr(django_settings, "ROOT_URLCONF", None),
            )
        made = plan(_relative(file), settings_module, force=options["force"])
        self._carry_out(made, options)

    def _make_units(self, options: dict[str, Any]) -> None:
        settings_module = importer.find_settings_module(option=options["settings"]).name
        settings = conf.load()
        folder = Path.cwd()
        made = systemd.units(
            systemd.Deployment(
                name=settings_module.partition(".")[0],
                settings_module=settings_module,
                folder=folder,
                python=Path(sys.executable),
                user=folder.owner(),
                bind=settings.bind if "BIND" in settings.origins else None,
                has_supervisor=settings.is_supervised,
                budget_seconds=settings.drain_delay_seconds + settings.graceful_timeout_seconds,
            )
        )
        for name, text in made.items():
            if output := options["output"]:
                self._carry_out(_unit_plan(output / name, text.encode(), force=options["force"]), options)
            else:
                self.stdout.write(f"# /etc/systemd/system/{name}\n{text}")

    def _carry_out(self, made: Plan, options: dict[str, Any]) -> None:
        if made.is_needed and options["diff"]:
            self.stdout.write(made.diff(), ending="")
            return
        if made.is_needed:
            made.carry_out()
        self.stdout.write(f"{made.file} {made.outcome}")


def _unit_plan(file: Path, new: bytes, *, force: bool) -> Plan:
    try:
        old = file.read_bytes()
    except FileNotFoundError:
        return Plan(file, None, new, "is written.")
    except OSError as error:
        raise RefusedError(f"{file} can't be read: {error.strerror}.") from None
    if old == new:
        return Plan(file, old, new, "is there already: nothing to do.")
    if force:
        return Plan(file, old, new, "is replaced.")
    raise RefusedError(f"{file} is there and differs; it is left as it is. See --diff --force, or replace it: --force")


def _relative(file: Path) -> Path:
    """As short as it can be written from here."""
    try:
        return file.resolve().relative_to(Path(os.getcwd()).resolve())
    except ValueError:
        return file
