import os
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_asgi_deploy import importer
from django_asgi_deploy.deployment.asgi_module import find_file, plan
from django_asgi_deploy.deployment.render import PROJECT_TEMPLATE
from django_asgi_deploy.exceptions import ASGIDeployError, ExitStatus


class Command(BaseCommand):
    help = "Writes the files that a deployment of this project needs: asgi.py."
    requires_system_checks = []
    suppressed_base_arguments = {"--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", nargs="?", choices=("asgi",), help="what to make")
        parser.add_argument("--diff", action="store_true", help="Show what would change, and write nothing.")
        parser.add_argument(
            "--force", action="store_true", help="Replace a file that isn't understood, and lose what is in it."
        )
        parser.add_argument(
            "--output", type=Path, metavar="PATH", help="The file, or the folder for asgi.py, instead of the project's."
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
            raise CommandError("What is to be made? Type: makeasgi asgi", returncode=ExitStatus.USAGE)
        try:
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
        if made.is_needed and options["diff"]:
            self.stdout.write(made.diff(), ending="")
            return
        if made.is_needed:
            made.carry_out()
        self.stdout.write(f"{made.file} {made.outcome}")


def _relative(file: Path) -> Path:
    """As short as it can be written from here."""
    try:
        return file.resolve().relative_to(Path(os.getcwd()).resolve())
    except ValueError:
        return file
