"""Middleware that views are decorated with."""

from django.utils.decorators import decorator_from_middleware
from django.utils.deprecation import MiddlewareMixin

from booking.models import Appointment


class Occupancy(MiddlewareMixin):
    def process_request(self, request):
        request.occupancy = Appointment.objects.count()


with_occupancy = decorator_from_middleware(Occupancy)
