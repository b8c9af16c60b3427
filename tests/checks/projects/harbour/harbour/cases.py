"""
What MIDDLEWARE can be, what is found in it, and what the site then answers.

Name: (MIDDLEWARE, numbers that are found, {path: status}); a path that isn't named answers 200. 0 is no answer.
"""

DJANGO = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ALL = ("/ships/", "/tides/", "/positions/")
NOTHING_WORKS = dict.fromkeys(ALL, 500)

CASES = {
    "undeclared class": ([*DJANGO, "harbour.calls.Timing"], [201], NOTHING_WORKS),
    "undeclared, through another method": ([*DJANGO, "harbour.calls.Handling"], [201], NOTHING_WORKS),
    "unmarked class": ([*DJANGO, "harbour.calls.Declared"], [202], NOTHING_WORKS),
    "unmarked, knows both": ([*DJANGO, "harbour.calls.Switching"], [202], NOTHING_WORKS),
    "unmarked, outermost": (["harbour.calls.Declared", *DJANGO], [202], {}),
    "legacy mark": ([*DJANGO, "harbour.calls.Legacy"], [203], NOTHING_WORKS),
    "legacy mark, knows both": ([*DJANGO, "harbour.calls.LegacySwitching"], [203], NOTHING_WORKS),
    "marked": ([*DJANGO, "harbour.calls.Marked"], [], {}),
    "marked, knows both": ([*DJANGO, "harbour.calls.MarkedSwitching"], [], {}),
    "undeclared function": ([*DJANGO, "harbour.calls.undeclared"], [206], NOTHING_WORKS),
    "function declared wrong": ([*DJANGO, "harbour.calls.declared_wrong"], [206], NOTHING_WORKS),
    "function that says both and is one": ([*DJANGO, "harbour.calls.forgetful"], [202], NOTHING_WORKS),
    "function": ([*DJANGO, "harbour.calls.only_async"], [], {}),
    "function of both kinds": ([*DJANGO, "harbour.calls.both"], [], {}),
    "asynchronous process_request": ([*DJANGO, "harbour.hooks.AsyncRequestHook"], [204], NOTHING_WORKS),
    "asynchronous process_response": ([*DJANGO, "harbour.hooks.AsyncResponseHook"], [204], NOTHING_WORKS),
    "asynchronous process_view": ([*DJANGO, "harbour.hooks.AsyncViewHook"], [], {}),
    "synchronous __call__": ([*DJANGO, "harbour.hooks.OwnCall"], [205], NOTHING_WORKS),
    "synchronous __call__, of a subclass": (["harbour.hooks.StricterSecurity", *DJANGO], [205], NOTHING_WORKS),
    "synchronous __call__, around a synchronous middleware": (
        [*DJANGO, "harbour.hooks.OwnCall", "harbour.calls.Plain"],
        [205, 207],
        {},
    ),
    "unmarked, around a synchronous middleware": (
        [*DJANGO, "harbour.calls.Switching", "harbour.calls.MarkedSwitching", "harbour.calls.plain"],
        [202, 207],
        {},
    ),
    "synchronous __call__ that passes on": ([*DJANGO, "harbour.hooks.Passing"], [], {}),
    "both calls": ([*DJANGO, "harbour.hooks.Twofold"], [], {}),
    "classic": ([*DJANGO, "harbour.hooks.Classic"], [], {}),
    "synchronous by choice": ([*DJANGO, "harbour.hooks.SyncByChoice"], [207], {}),
    "synchronous class": ([*DJANGO, "harbour.calls.Plain"], [207], {}),
    "synchronous function": (["harbour.calls.plain", *DJANGO], [207], {}),
    "sandwich": (
        ["harbour.calls.only_async", "harbour.calls.plain", "harbour.calls.Marked", "harbour.calls.Plain"],
        [207, 207, 208],
        {},
    ),
    "sandwich with filling": (
        ["harbour.calls.Quay", *DJANGO, "harbour.calls.only_async", "harbour.hooks.SyncByChoice"],
        [207, 207, 208],
        {},
    ),
    "one run of synchronous ones": (
        ["harbour.calls.only_async", "harbour.calls.plain", "harbour.calls.Plain"],
        [207, 207],
        {},
    ),
    "thread-local": ([*DJANGO, "harbour.state.Pilot"], [210], {}),
    "thread-local in a function": ([*DJANGO, "harbour.state.PilotInStorage"], [210], {}),
    "context variable": ([*DJANGO, "harbour.state.PilotInContext"], [], {}),
    "stream in a generator": ([*DJANGO, "harbour.streams.Upper"], [211], {"/positions/": 0}),
    "stream in a map": ([*DJANGO, "harbour.streams.mapped"], [211], {"/positions/": 500}),
    "content of a stream": ([*DJANGO, "harbour.streams.Length"], [211], {"/positions/": 500}),
    "stream in a generator inside": ([*DJANGO, "harbour.streams.Counting"], [211], {"/positions/": 0}),
    "stream joined": ([*DJANGO, "harbour.streams.Joining"], [211], {"/positions/": 500}),
    "content of all that is well": ([*DJANGO, "harbour.streams.OkLength"], [211], {"/positions/": 500}),
    "content of JSON": ([*DJANGO, "harbour.streams.HtmlLength"], [], {}),
    "thread-local of its own": ([*DJANGO, "harbour.state.OwnLocal"], [210], {}),
    "dict by thread": ([*DJANGO, "harbour.state.ByThread"], [210], {}),
    "dict by path": ([*DJANGO, "harbour.state.ByName"], [], {}),
    "stream in both kinds": ([*DJANGO, "harbour.streams.GoodUpper"], [], {}),
    "content of what isn't a stream": ([*DJANGO, "harbour.streams.GoodLength"], [], {}),
}
