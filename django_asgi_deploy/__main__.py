"""``python -m django_asgi_deploy runasgi``: like ``manage.py``, and says clearly which settings it can't import.

Inside ``manage.py`` Django imports the settings before any command of ours exists, and answers a mistake with a
traceback or "Unknown command".
"""

import os
import sys

from django.core.management import execute_from_command_line
from django.core.management.base import CommandParser

from django_asgi_deploy import importer
from django_asgi_deploy.deployment.render import PROJECT_TEMPLATE
from django_asgi_deploy.exceptions import ASGIDeployError


def main(argv: list[str]) -> None:
    """Find the settings, import them, and hand over to Django's command line."""
    if argv[1:] == ["makeasgi", "--template-path"]:
        print(PROJECT_TEMPLATE)  # asked for by somebody who is about to make a project, and has no settings yet
        return
    parser = CommandParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    options, _ = parser.parse_known_args(argv[2:])
    if options.pythonpath:
        sys.path.insert(0, options.pythonpath)
    try:
        found = importer.find_settings_module(option=options.settings)
        os.environ[importer.VARIABLE] = found.name
        importer.import_settings_module(found)
    except ASGIDeployError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.status) from None
    execute_from_command_line(argv)


if __name__ == "__main__":
    main(["python -m django_asgi_deploy", *sys.argv[1:]])
