from django.urls import path

from benchsite import views

urlpatterns = [
    path("sync/", views.sync_hello),
    path("async/", views.async_hello),
    path("sync-query/", views.sync_query),
    path("async-query/", views.async_query),
    path("sync-sleep/", views.sync_sleep),
    path("events/", views.events),
    path("file/", views.file),
    path("iterator/", views.iterator),
    path("iterator/state/", views.iterator_state),
]
