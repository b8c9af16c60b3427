"""Our handler does what Django's does, event by event, whatever the middleware and the view.

Django's handler is the oracle. Hypothesis makes stacks and views (`stacks`), both handlers serve them (`drive`), and their lists of
events are compared. What may differ is what `drive.normalised` leaves out, and nothing else.

``EQUAL_EXAMPLES=10000`` is the long form; ``EQUAL_SEED`` starts elsewhere.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.handlers import configured  # noqa: F401  (before anything that needs settings)
from tests.handlers.drive import differences, run
from tests.handlers.stacks import (
    ASYNC_VIEWS,
    EXCEPTIONS,
    INSIDE,
    MIDDLEWARE_FORMS,
    RESULTS,
    SYNC_VIEWS,
    Case,
    Hook,
    Middleware,
    Request,
    ViewKind,
)
from tests.handlers.under_test import DJANGOS_OWN, HANDLER_UNDER_TEST

EXAMPLES = int(os.environ.get("EQUAL_EXAMPLES", "200"))
SEED = int(os.environ.get("EQUAL_SEED", "0"))

pytestmark = [
    # A file that Django's handler leaves open when a stream raises; a coroutine that a wrong view doesn't await.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


# --- Strategies ------------------------------------------------------------------------------------------------------

raising = [f"raise {name}" for name in EXCEPTIONS]


def mostly(usual, others):
    """`usual` three times in four: an odd step at every layer would let no request get past the first."""
    return st.one_of(st.just(usual), st.just(usual), st.just(usual), st.sampled_from(others))


def hooks(others):
    return st.one_of(
        st.none(),
        st.none(),
        st.builds(Hook, is_async=st.booleans(), action=mostly("pass", others)),
    )


middleware = st.builds(
    Middleware,
    form=st.sampled_from(MIDDLEWARE_FORMS),
    request=mostly("pass", ["respond 200", "respond 404", *raising]),
    response=mostly("pass", ["respond 200", "respond 404", "none", *raising]),
    view=hooks(["respond 200", "respond 404", *raising]),
    exception=hooks(["respond 200", "respond 404", *raising]),
    template=hooks(["none", *raising]),
    reroute=mostly("", ["path", "urlconf"]),
)
# Most sites: every middleware a MiddlewareMixin.
classic_middleware = st.builds(
    Middleware,
    form=st.just("classic"),
    request=mostly("pass", ["respond 200", "respond 404", *raising]),
    response=mostly("pass", ["respond 200", "respond 404", *raising]),
    view=st.one_of(
        st.none(), st.builds(Hook, is_async=st.just(False), action=mostly("pass", ["respond 200", *raising]))
    ),
    exception=st.one_of(
        st.none(), st.builds(Hook, is_async=st.just(False), action=mostly("pass", ["respond 200", *raising]))
    ),
)
stacks = st.one_of(st.lists(middleware, max_size=4), st.lists(classic_middleware, max_size=4)).map(tuple)
views = st.builds(
    ViewKind,
    form=st.one_of(
        st.sampled_from(SYNC_VIEWS), st.sampled_from(ASYNC_VIEWS), st.sampled_from(["function", "async function"])
    ),
    result=st.sampled_from(RESULTS),
    inside=mostly("", INSIDE),
)
requests = st.builds(
    Request,
    target=st.sampled_from([0, 0, 0, 1, 1, 2]),
    body=st.sampled_from([(), (), (b"whole",), (b"in ", b"two"), (b"", b"late", b"")]),
    leaves=st.sampled_from([False] * 9 + [True]),
)
receivers = mostly("", ["sync", "async", "both"])
cases = st.builds(
    Case,
    middleware=stacks,
    views=st.tuples(views, views),
    requests=st.lists(requests, min_size=1, max_size=3).map(tuple),
    started=st.one_of(receivers, receivers, mostly("", ["raise"])),
    finished=receivers,
    got_exception=receivers,
    error_views=st.booleans(),
    atomic_requests=st.sampled_from([False, False, False, True]),
)


def import_handler(path):
    from django.utils.module_loading import import_string

    return import_string(path)


def check(case, handler_class):
    """Serve the case with Django's handler and with that one; fail with the differences."""
    found = differences(case, run(import_handler(DJANGOS_OWN), case), run(handler_class, case))
    assert not found, "\n".join([f"{handler_class.__module__}.{handler_class.__qualname__} differs", *found])


def property_holds(handler_class, examples, **options):
    """The property, for that handler, as a function to call."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        **options,
    )
    @given(cases)
    def equal(case):
        check(case, handler_class)

    return equal


# --- Tests -----------------------------------------------------------------------------------------------------------


def test_the_handler_does_what_djangos_does_event_by_event():
    """The same stack, view and requests give the same events, in the same places, with the same answers."""
    property_holds(import_handler(HANDLER_UNDER_TEST), EXAMPLES)()
