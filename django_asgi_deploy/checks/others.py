"""Installed packages: which of their functions are looked into, and what of them is told at the line that calls them.

A finding in somebody else's code must be sure: it counts only where every call comes to it, whatever the arguments.
"""

import inspect
import os
import sysconfig
from types import FunctionType

import django.views.generic

from django_asgi_deploy.checks.scope import Problem

# A call, a query, and the user of a request; how a package deals with its own coroutines is its own affair.
TOLD = frozenset([401, 402, 404])
SURE = ("error", None)  # None: as the catalogue has it
# Who has rules of their own, or nothing to find: Django and its servers, and clients that the rules know by name.
_NAMES = """
    django asgiref channels daphne uvicorn uvloop anyio sniffio trio h11 httptools websockets requests httpx httpcore
    urllib3 redis pymongo botocore psycopg psycopg2 psycopg_pool pymysql MySQLdb oracledb sqlite3 blockbuster
    pytest _pytest django_asgi_deploy
"""
SKIPPED = frozenset(_NAMES.split())
_GENERIC_VIEWS = os.path.dirname(django.views.generic.__file__) + os.sep
_SITE_PACKAGES = ("site-packages", "dist-packages")
_STDLIB = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib"))


def is_generic_view(function: FunctionType) -> bool:
    """Django's own views for others to inherit from: what they call is mostly the project's."""
    return function.__code__.co_filename.startswith(_GENERIC_VIEWS)


def may_be_read(function: FunctionType) -> bool:
    """Whether a synchronous function of a package says by itself what a call of it does."""
    code = function.__code__
    if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE):
        return False
    if str(function.__globals__.get("__name__")).partition(".")[0] in SKIPPED:
        return False
    return is_installed(code.co_filename)


def is_installed(file: str) -> bool:
    """Whether a file belongs to a package, not to Python itself or to nobody."""
    return file.endswith(".py") and (
        any(f"{os.sep}{name}{os.sep}" in file for name in _SITE_PACKAGES) or not file.startswith(_STDLIB)
    )


def is_told(problem: Problem) -> bool:
    """Whether it is sure enough to be told."""
    return problem.number in TOLD and problem.level in SURE and not problem.ifs
