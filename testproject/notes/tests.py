"""The site as a visitor meets it, served in a thread of the tests by what ``runasgi`` serves: ``manage.py test``."""

import json
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

from django.conf import settings
from websockets.sync.client import connect

from django_asgi_deploy.test import LiveServerTestCase
from notes.models import Note


class VisitorTests(LiveServerTestCase):
    def test_a_note_in_the_database_is_on_the_page(self):
        Note.objects.create(title="Buy milk")
        for path in ("/notes/", "/notes/async/"):
            self.assertIn("Buy milk", urlopen(self.live_server_url + path).read().decode())

    def test_a_note_from_the_form_is_in_the_database(self):
        cookies = HTTPCookieProcessor()
        visitor = build_opener(cookies)
        visitor.open(self.live_server_url + "/notes/new/")
        (token,) = [cookie.value for cookie in cookies.cookiejar if cookie.name == settings.CSRF_COOKIE_NAME]
        form = {"title": "Buy bread", "text": "", "csrfmiddlewaretoken": token}
        visitor.open(self.live_server_url + "/notes/new/", urlencode(form).encode())
        self.assertEqual([note.title for note in Note.objects.all()], ["Buy bread"])

    def test_each_test_begins_with_an_empty_database(self):
        self.assertEqual(json.load(urlopen(self.live_server_url + "/notes/api/")), [])

    def test_the_style_sheet_is_served_without_collectstatic(self):
        self.assertIn("text/css", urlopen(self.live_server_url + "/static/site/style.css").headers["Content-Type"])

    def test_what_is_missing_has_a_page_of_its_own(self):
        with self.assertRaises(HTTPError) as raised:
            urlopen(self.live_server_url + "/missing/")
        self.assertEqual(raised.exception.status, 404)
        raised.exception.close()

    def test_a_websocket_sends_back_what_it_gets(self):
        with connect(self.live_server_websocket_url + "/ws/echo/") as websocket:
            websocket.send("Hello")
            self.assertEqual(websocket.recv(), "Hello")
