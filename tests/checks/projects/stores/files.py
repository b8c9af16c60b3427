from django.contrib.sessions.backends.file import SessionStore as DjangosStore


class SessionStore(DjangosStore):
    def get_session_cookie_age(self) -> int:
        return 3600
