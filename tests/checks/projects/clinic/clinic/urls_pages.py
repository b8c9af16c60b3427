"""The same site with error pages of its own."""

from booking.errors import ServerError

from clinic.urls import urlpatterns

__all__ = ["urlpatterns"]

handler403 = "booking.errors.permission_denied"
handler404 = "booking.errors.page_not_found"
handler500 = ServerError.as_view()
