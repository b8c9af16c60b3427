"""What only shows when a page is asked for in a special way: many at once, left early, below a prefix. (704 to 707, "
"104)"""

import tracemalloc
from collections.abc import Collection
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.staticfiles.finders import get_finders
from django.templatetags.static import static

from django_asgi_deploy import database
from django_asgi_deploy.checks.driver import Driver
from django_asgi_deploy.checks.faults import Faults
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_of_error
from django_asgi_deploy.checks.leaks import Connections
from django_asgi_deploy.checks.probe import Answer

COPIES = 10
LEAVE_AFTER_SECONDS = 0.05
MAY_GO_ON_SECONDS = 1.0
LATE_SECONDS = 3.0
BIG_BYTES = 8 * 1024 * 1024
POOL_THREADS = "django-"  # how the pooled handler names its threads
PREFIX = "/checkasgi-prefix"
# As a proxy that ends TLS says it, and another in front of that one; the addresses are for documentation only.
FORWARDED = ((b"x-forwarded-for", b"2001:db8::7, 192.0.2.1"), (b"x-forwarded-proto", b"https"))


class Trials:
    """Each adds its findings to the faults."""

    def __init__(self, driver: Driver, faults: Faults, connections: Connections, *, is_pooled: bool) -> None:
        self.driver = driver
        self.faults = faults
        self.connections = connections
        self.is_pooled = is_pooled

    def of_page(self, answer: Answer, view_is_async: bool | None, view: Place | None) -> None:
        """Of a page that was answered well; ``view`` is where its view is."""
        if view_is_async and answer.seconds > 2 * LEAVE_AFTER_SECONDS and not (answer.is_cut or answer.stalls):
            self._leave(answer, view)
        if answer.is_stream:
            self._memory(answer.url, view)
        if answer.first_part_seconds is not None and answer.is_stream and answer.first_part_seconds > LATE_SECONDS:
            self.faults.add(
                found(
                    706,
                    f"the first part of this stream takes {answer.first_part_seconds:.1f} seconds: the visitor sees "
                    "nothing meanwhile.",
                    "Send something at once: a heading, or a comment line of an event stream.",
                    place=view,
                ),
                f"GET {answer.url}",
            )

    def leaving_connections(self, url: str, before: Collection[int]) -> None:
        """Of a page that opens some; ``before`` are those that were open before its first visit."""
        self.driver.ask_at_once(url, COPIES)
        left = [how for key, how in self.connections.still_open().items() if key not in before]
        if self.is_pooled:  # its threads close theirs later or keep them: they are few, and used again
            left = [how for how in left if not how.thread.startswith(POOL_THREADS)]
        if not left:
            return
        place = next((how.place for how in left if how.place), None)
        self.faults.add(
            found(
                704,
                f"{COPIES} visitors at once leave {len(left)} database connection{'s' * (len(left) > 1)} open (in "
                f"{left[0].thread}): they pile up until the database refuses the next one.",
                "Query in sync_to_async() or with the a-methods, not in a thread of its own; or call "
                "django.db.close_old_connections() there at the end.",
                place=place,
            ),
            f"GET {url}",
        )

    def _leave(self, answer: Answer, view: Place | None) -> None:
        left = self.driver.ask(answer.url, leave_after_seconds=LEAVE_AFTER_SECONDS)
        if left.seconds - LEAVE_AFTER_SECONDS > MAY_GO_ON_SECONDS and not left.stalls:  # else it can't be told
            self.faults.add(
                found(
                    705,
                    f"the view goes on for {left.seconds - LEAVE_AFTER_SECONDS:.1f} seconds after its client has left: "
                    "whoever reloads the page leaves one more running.",
                    "Look for what catches asyncio.CancelledError (also a bare except), or shields what it awaits.",
                    place=left.place or view,
                ),
                f"GET {answer.url}",
            )

    def _memory(self, url: str, view: Place | None) -> None:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            answer = self.driver.ask(url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        held = peak - before - answer.size
        if held > BIG_BYTES:
            self.faults.add(
                found(
                    706,
                    f"the response is collected before it is sent, {held // 2**20} MB in memory for each visitor, and "
                    "nothing arrives until it is complete.",
                    "Make the stream an asynchronous iterator; leave files to the web server in front "
                    "(X-Accel-Redirect), or serve with the pooled handler.",
                    place=view,
                ),
                f"GET {url}",
            )

    # ------------------------------------------------------------------ the site as a whole

    def of_site(self, page: Answer) -> None:
        """With a page that was answered well."""
        if not django_settings.FORCE_SCRIPT_NAME:
            self._prefix(page)
        self._forwarded(page)

    def _forwarded(self, page: Answer) -> None:
        answer = self.driver.ask(page.url, headers=FORWARDED)
        if answer.ended_well and (answer.status or 0) < 500 and not answer.headers.get("location"):
            return
        names = ", ".join(name.decode().title() for name, _ in FORWARDED)
        error = answer.error or next(iter(answer.exceptions), None)
        what = f"fails with {type(error).__name__}: {error}" if error else f"is answered with {answer.status}"
        if location := answer.headers.get("location"):
            what += f", to {location}"
        self.faults.add(
            found(
                707,
                f"with a proxy's headers ({names}) it {what}, and without them it is answered with {page.status}.",
                "Look for what reads META['HTTP_X_FORWARDED_FOR'] or request.scheme: behind proxies there may be "
                "several addresses, and IPv6 ones.",
                place=place_of_error(error) if error else None,
            ),
            f"GET {page.url}",
        )

    def _prefix(self, page: Answer) -> None:
        answer = self.driver.ask(page.url, root_path=PREFIX)
        if answer.ended_well and answer.status != 404:
            return
        self.faults.add(
            found(
                707,
                f"below a prefix, as a proxy may have it (root_path), it is answered with {answer.status}, and without "
                f"one with {page.status}.",
                "Look for what reads scope['path'] or request.path where request.path_info is meant.",
            ),
            f"GET {page.url}",
        )


def static_file() -> str | None:
    """The URL of a static file that the project has; None if it has none of its own to serve."""
    if not apps.is_installed("django.contrib.staticfiles") or not django_settings.STATIC_URL:
        return None
    if urlsplit(django_settings.STATIC_URL).netloc:
        return None
    first = next((min(paths) for finder in get_finders() if (paths := [path for path, _ in finder.list([])])), None)
    try:
        return static(first) if first else None
    except ValueError:  # a manifest that collectstatic hasn't made yet
        return None


def too_many_connections(workers: int, threads: int) -> list[Finding]:
    """Of the database servers that can be asked, those that allow less than may be opened."""
    return [
        found(
            104,
            f'DATABASES["{alias}"]: {workers} worker{"s" * (workers > 1)} may open {wanted} connections, and the '
            "server allows "
            f"{allowed}: the last ones are refused, and their visitors see 500.",
            "Lower THREADS or WORKERS, or the pool's max_size; or raise the server's max_connections.",
            object=f'DATABASES["{alias}"]',
        )
        for alias, wanted, allowed in database.beyond_what_is_allowed(workers, threads)
    ]
