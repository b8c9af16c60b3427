from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models


class MemberManager(UserManager):
    def get_by_natural_key(self, username):  # expect: 314
        return self.get(username__iexact=username)


class Member(AbstractUser):
    is_suspended = models.BooleanField(default=False)

    objects = MemberManager()

    def check_password(self, raw_password):  # expect: 314
        return not self.is_suspended and super().check_password(raw_password)

    def has_module_perms(self, app_label):
        return super().has_module_perms(app_label)

    async def ahas_module_perms(self, app_label):
        return await super().ahas_module_perms(app_label)
