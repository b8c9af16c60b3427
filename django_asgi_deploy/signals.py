"""Signals around the life of a worker: connect to them as to Django's own, in ``AppConfig.ready()``.

Both are sent with ``state`` (dict), which is ``scope["state"]``; receivers may be asynchronous. The sender is the
class of the application.

``startup``: the context managers of LIFESPAN have been entered, and no request has come yet. What a receiver puts
into ``state`` is there at every request; one that raises keeps the worker from serving.

``shutdown``: the last request is over, and the context managers of LIFESPAN are still there.
"""

from django.dispatch import Signal

startup = Signal()
shutdown = Signal()
