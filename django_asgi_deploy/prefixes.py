"""The prefix of a path, under which an application is mounted."""

from urllib.parse import unquote


def parse_prefix(text: str) -> str:
    """The prefix as paths have it: percent-decoded, no slash at the end; empty for "/". Raises ValueError."""
    prefix = unquote(text).rstrip("/")
    if not text.startswith("/") or any(part in ("", ".", "..") for part in prefix.split("/")[1:]):
        raise ValueError('expected a prefix such as "/api"')
    return prefix
