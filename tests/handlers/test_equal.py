"""Our handler does what Django's does, event by event, whatever the middleware and the view.

Django's handler is the oracle. Hypothesis makes stacks and views (`stacks`), both handlers serve them (`drive`), and
their lists of events are compared. What may differ is what `drive.normalised` leaves out, and nothing else.

``EQUAL_EXAMPLES=10000`` is the long form; ``EQUAL_SEED`` starts elsewhere.
"""

import gc
import os
import re
from contextlib import nullcontext

import pytest
from django.utils.module_loading import import_string
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.handlers import configured  # noqa: F401  (before anything that needs settings)
from tests.handlers.drive import differences, run
from tests.handlers.faults import FAULTS
from tests.handlers.stacks import (
    ASYNC_VIEWS,
    EXCEPTIONS,
    INSIDE,
    INSIDE_DJANGO_MIDDLEWARE,
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


@pytest.fixture(autouse=True)
def collected():
    """What both handlers leave to the collector is collected while its warnings are still expected."""
    yield
    gc.collect()


# --- Strategies ------------------------------------------------------------------------------------------------------

raising = [f"raise {name}" for name in EXCEPTIONS]


def mostly(usual, others):
    """`usual` nine times in ten: an odd step at every layer would let no request get past the first."""
    return st.sampled_from([usual] * 9 * len(others) + others)


def hooks(others, is_async=None):
    is_async = st.booleans() if is_async is None else is_async
    return st.one_of(st.none(), st.none(), st.builds(Hook, is_async=is_async, action=mostly("pass", others)))


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
    view=hooks(["respond 200", *raising], is_async=st.just(False)),
    exception=hooks(["respond 200", *raising], is_async=st.just(False)),
    template=hooks(["none", *raising], is_async=st.just(False)),
)
stacks = st.one_of(st.lists(middleware, max_size=4), st.lists(classic_middleware, max_size=4)).map(tuple)
views = st.builds(
    ViewKind,
    form=st.sampled_from([*SYNC_VIEWS, *ASYNC_VIEWS, "function", "function", "async function", "async function"]),
    result=st.sampled_from([*RESULTS, "plain", "template", "template", "stream", "async stream", "own close"]),
    inside=st.one_of(st.sampled_from(INSIDE), st.sampled_from(INSIDE_DJANGO_MIDDLEWARE)),
)
requests = st.builds(
    Request,
    target=st.sampled_from([0, 0, 0, 0, 1, 1, 1, 1, 2]),
    body=st.sampled_from([(), (), (b"whole",), (b"in ", b"two"), (b"", b"late", b"")]),
    leaves=st.sampled_from([False] * 19 + [True]),
)
receivers = st.sampled_from(["", "", "", "sync", "async", "both"])
cases = st.builds(
    Case,
    middleware=stacks,
    views=st.tuples(views, views),
    requests=st.lists(requests, min_size=1, max_size=3).map(tuple),
    started=st.sampled_from(["", "", "", "", "", "", "sync", "sync", "async", "both", "raise"]),
    finished=receivers,
    got_exception=receivers,
    error_views=st.booleans(),
    atomic_requests=st.sampled_from([False] * 7 + [True]),
    django_middleware=st.booleans(),
    at_once=st.booleans(),
)


class Different(AssertionError):
    """The two handlers did not do the same; `lines` says in what."""

    def __init__(self, summary, lines):
        super().__init__("\n".join([summary, *lines]))
        self.lines = lines


def check(case, handler_class, fault=nullcontext, sign=""):
    """Serve the case with Django's handler and with that one; fail with the differences, if one shows the sign."""
    expected = run(import_string(DJANGOS_OWN), case)
    with fault():
        actual = run(handler_class, case)
    found = differences(case, expected, actual)
    if any(re.search(sign, line) for line in found):
        raise Different(f"{handler_class.__module__}.{handler_class.__qualname__} differs", found)


# Found by the long form: middleware leads to another view than the path does, and that is an unmarked object.
REROUTED_TO_AN_UNMARKED_OBJECT = Case(
    middleware=(Middleware("classic"), Middleware("classic", reroute="path")),
    views=(ViewKind("function"), ViewKind("async object")),
    requests=(Request(),),
)


def property_holds(handler_class, examples, fault=nullcontext, sign="", **options):
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
        check(case, handler_class, fault, sign)

    return equal


# --- Tests -----------------------------------------------------------------------------------------------------------


def test_the_handler_does_what_djangos_does_event_by_event():
    """The same stack, view and requests give the same events, in the same places, with the same answers."""
    property_holds(import_string(HANDLER_UNDER_TEST), EXAMPLES)()


@pytest.mark.parametrize("handler", sorted({DJANGOS_OWN, HANDLER_UNDER_TEST}))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_planted_in_the_handler_is_found(fault, handler):
    """In Django's or in ours: 200 examples show each fault, and by its own sign, not by another difference."""
    faulty = property_holds(import_string(handler), 200, fault, FAULTS[fault], phases=[Phase.generate])
    with pytest.raises(Different):
        faulty()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_sign_of_a_fault_is_not_there_without_it(fault):
    """Django's handler against itself shows none of the signs: it is the fault that makes them."""
    property_holds(import_string(DJANGOS_OWN), 50, sign=FAULTS[fault])()


def test_a_case_that_once_differed_stays_equal():
    check(REROUTED_TO_AN_UNMARKED_OBJECT, import_string(HANDLER_UNDER_TEST))
