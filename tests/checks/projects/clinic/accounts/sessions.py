"""Sessions that end when the practice closes."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def load(self):  # expect: 314
        data = super().load()
        return {} if data.get("closed") else data

    def exists(self, session_key):
        return super().exists(session_key)

    async def aexists(self, session_key):
        return await super().aexists(session_key)
