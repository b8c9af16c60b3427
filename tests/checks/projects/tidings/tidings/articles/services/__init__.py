from .clients import WireClient, pressroom
from .publishing import publish

__all__ = ["WireClient", "pressroom", "publish"]
