"""
Whether a request's view is synchronous or asynchronous, before any middleware runs.

It decides which chain the request takes, never what it gets: a view whose kind was guessed wrong runs all the same,
adapted by Django, only slower.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import FunctionType
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import URLPattern, URLResolver, converters, get_resolver
from django.urls.exceptions import Resolver404
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, ResolverMatch, RoutePattern
from django.utils import translation

from django_asgi_deploy.handlers import private

logger = logging.getLogger(__name__)


class Kind(Enum):
    SYNC = "sync"
    ASYNC = "async"


class Found(NamedTuple):
    """A match to be used again, if nothing that it rests on has changed until then."""

    resolver: URLResolver
    path_info: str
    match: ResolverMatch


@dataclass
class Tree:
    """What can be said about all URLs of a resolver at once."""

    has_sync: bool = False
    has_async: bool = False
    is_static: bool = True  # the same path always gives the same match, and finding it runs no code of the project
    has_languages: bool = False
    kinds: dict[FunctionType, Kind] = field(default_factory=dict)  # of the views, looked at once

    def kind_of(self, view: Any) -> Kind:
        return (self.kinds.get(view) if type(view) is FunctionType else None) or kind_of(view)

    @property
    def only_kind(self) -> Kind | None:
        if self.has_sync and self.has_async:
            return None
        return Kind.ASYNC if self.has_async else Kind.SYNC

    def add(self, resolver: URLResolver) -> None:
        self.add_pattern(resolver.pattern)
        if type(resolver) is not URLResolver:
            self.is_static = False
        for entry in resolver.url_patterns:
            if isinstance(entry, URLResolver):
                self.add(entry)
            else:
                self.add_entry(entry)

    def add_entry(self, entry: Any) -> None:
        if type(entry) is not URLPattern:
            self.is_static = False
        self.add_pattern(entry.pattern)
        kind = kind_of(entry.callback)
        if type(entry.callback) is FunctionType:
            self.kinds[entry.callback] = kind
        if kind is Kind.ASYNC:
            self.has_async = True
        else:
            self.has_sync = True

    def add_pattern(self, pattern: Any) -> None:
        if isinstance(pattern, LocalePrefixPattern):
            self.has_languages = True
        elif type(pattern) is RoutePattern:
            self.has_languages |= private.is_translated(pattern)
            self.is_static &= all(type(converter) in _CONVERTERS for converter in pattern.converters.values())
        elif type(pattern) is RegexPattern:
            self.has_languages |= private.is_translated(pattern)
        else:
            self.is_static = False


_CONVERTERS = {
    converters.IntConverter,
    converters.StringConverter,
    converters.UUIDConverter,
    converters.SlugConverter,
    converters.PathConverter,
}


class Views:
    """Answers for the project's URLconf, as it is at the moment."""

    def __init__(self) -> None:
        self.resolver: URLResolver | None = None
        self.tree: Tree | None = None

    def kind(self, path_info: Callable[[], str]) -> tuple[Kind, Found | None]:
        """The kind of the view that the path leads to, and the match, if it was needed and may be used again."""
        try:
            resolver = get_resolver()
            if resolver is not self.resolver:
                self.resolver, self.tree = resolver, look_at(resolver)
        except Exception:
            # A URLconf that can't be imported: the request itself will say so.
            self.resolver = None
            return Kind.SYNC, None
        tree = self.tree
        if tree is None:
            return Kind.SYNC, None
        if tree.only_kind is not None:
            return tree.only_kind, None
        return self.resolve(resolver, tree, path_info())

    def is_known_to_be_sync(self, view: Any) -> bool:
        """Whether the view stands in the URLconf, where it was looked at."""
        return type(view) is FunctionType and self.tree is not None and self.tree.kinds.get(view) is Kind.SYNC

    @staticmethod
    def holds(found: Found, path_info: str) -> bool:
        return found.path_info == path_info and get_resolver() is found.resolver

    def resolve(self, resolver: URLResolver, tree: Tree, path_info: str) -> tuple[Kind, Found | None]:
        try:
            if tree.has_languages:
                language = translation.get_language_from_path(path_info) or settings.LANGUAGE_CODE
                with translation.override(language):
                    match = resolver.resolve(path_info)
            else:
                match = resolver.resolve(path_info)
        except Resolver404:
            return Kind.SYNC, None  # the answer is a synchronous error page
        except Exception:
            # A converter that can't run here, say because it asks the database.
            logger.debug("The kind of view of %r is not known before the request", path_info, exc_info=True)
            return Kind.SYNC, None
        kind = tree.kind_of(match.func)
        if tree.is_static and not tree.has_languages:
            return kind, Found(resolver, path_info, match)
        return kind, None


def kind_of(view: Any) -> Kind:
    return Kind.ASYNC if is_async(view) else Kind.SYNC


def is_async(view: Any) -> bool:
    # An object with an asynchronous __call__() isn't a view to Django, and it says so on its asynchronous path only.
    return private.iscoroutinefunction(view) or private.iscoroutinefunction(getattr(view, "__call__", None))  # noqa: B004


def look_at(resolver: URLResolver) -> Tree | None:
    tree = Tree()
    try:
        tree.add(resolver)
    except Exception:
        logger.debug("The URLconf can't be looked through", exc_info=True)
        return None
    return tree
