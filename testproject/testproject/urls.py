from django.contrib import admin
from django.urls import include, path

from testproject import views

urlpatterns = [
    path("", views.home, name="home"),
    # Two kinds of views
    path("sync/", views.sync_page, name="sync"),
    path("async/", views.async_page, name="async"),
    path("hello/sync/", views.hello_sync, name="hello-sync"),
    path("hello/async/", views.hello_async, name="hello-async"),
    path("slow/sync/", views.slow_sync, name="slow-sync"),
    path("slow/async/", views.slow_async, name="slow-async"),
    # Data and people
    path("notes/", include("notes.urls")),
    path("form/", views.form, name="form"),
    path("upload/", views.upload, name="upload"),
    path("download/", views.download, name="download"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
    # Live
    path("stream/sync/", views.stream_sync, name="stream-sync"),
    path("stream/async/", views.stream_async, name="stream-async"),
    path("events/", views.events, name="events"),
    path("events/view/", views.events_page, name="events-page"),
    path("websocket/", views.websocket_page, name="websocket"),
    # Requests and answers
    path("info/", views.info, name="info"),
    path("cookies/", views.cookies, name="cookies"),
    path("session/", views.session, name="session"),
    path("redirect/", views.redirect_to_info, name="redirect"),
    path("error/", views.error, name="error"),
    path("favicon.ico", views.favicon),
]
