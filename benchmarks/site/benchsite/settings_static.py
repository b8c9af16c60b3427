"""The same site with collected static files. BENCH_FILE is the folder; BENCH_OURS=0 serves them with WhiteNoise."""

import os

from benchsite.settings import *  # noqa: F403
from benchsite.settings import MIDDLEWARE

STATIC_ROOT = os.environ["BENCH_FILE"]
if os.environ.get("BENCH_OURS") != "1":
    MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
