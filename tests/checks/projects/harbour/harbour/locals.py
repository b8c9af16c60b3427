import threading
from contextvars import ContextVar

from asgiref.local import Local

current = threading.local()
pilot = ContextVar("pilot")
shared = Local()


class Storage(threading.local):
    pilot = None


storage = Storage()


def remember(name):
    storage.pilot = name
