from django.contrib.auth.mixins import AccessMixin
from django.core.exceptions import PermissionDenied
from django.http import JsonResponse
from django.shortcuts import redirect
from django.utils import timezone


class TenantMixin:
    """Sends those away who have no practice in their session."""

    def dispatch(self, request, *args, **kwargs):
        if not request.session.get("practice"):
            return redirect("/login/")
        return super().dispatch(request, *args, **kwargs)


class StampMixin:
    """Synchronous, and fine around both kinds of view."""

    def dispatch(self, request, *args, **kwargs):
        if request.headers.get("X-Banned"):
            raise PermissionDenied
        self.stamp = timezone.now()
        return super().dispatch(request, *args, **kwargs)


class AsyncLoginRequiredMixin(AccessMixin):
    async def dispatch(self, request, *args, **kwargs):
        user = await request.auser()
        if not user.is_authenticated:
            return redirect("/login/")
        return await super().dispatch(request, *args, **kwargs)


class JsonErrorsMixin:
    def http_method_not_allowed(self, request, *args, **kwargs):  # expect: 307
        return JsonResponse({"error": "not allowed"}, status=405)


class RoleMixin:
    """Asks a method of its own, by a name of its own."""

    def dispatch(self, request, *args, **kwargs):
        self.check_role()
        return super().dispatch(request, *args, **kwargs)

    def check_role(self):
        who = self.request.user
        if not who.is_active:
            raise PermissionDenied
