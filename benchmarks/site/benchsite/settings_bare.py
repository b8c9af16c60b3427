"""The same site without middleware: what is left is the handler."""

from benchsite.settings import *  # noqa: F403

MIDDLEWARE = []
