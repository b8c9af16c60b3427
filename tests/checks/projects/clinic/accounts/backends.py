from asgiref.sync import sync_to_async
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.hashers import check_password
from django.core.exceptions import PermissionDenied

from accounts.models import Member


class LockoutBackend(ModelBackend):
    def authenticate(self, request, username=None, password=None, **kwargs):  # expect: 314
        if Member.objects.filter(username=username, is_suspended=True).exists():
            raise PermissionDenied
        return super().authenticate(request, username, password, **kwargs)


class StaffOnly:
    def get_user(self, user_id):  # expect: 314
        user = super().get_user(user_id)
        return user if user and user.is_staff else None


class TenantBackend(StaffOnly, ModelBackend):
    pass


class LdapBackend(BaseBackend):
    """BaseBackend's aauthenticate() calls authenticate(): nothing is passed by."""

    def authenticate(self, request, username=None, password=None):
        return None

    def get_user(self, user_id):
        return None


class AuditedBackend(ModelBackend):
    """Has both of each."""

    def authenticate(self, request, username=None, password=None, **kwargs):
        member = Member.objects.filter(username=username).first()
        return member if member and check_password(password, member.password) else None

    async def aauthenticate(self, request, username=None, password=None, **kwargs):
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)
