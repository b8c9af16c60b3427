import contextlib
import inspect

from django.urls import path
from django.views import View

from desk import views as desk
from library import streams  # noqa: F401
from library.views import blocking, loops, people, queries

modules = [desk, blocking, loops, people, queries]
with contextlib.suppress(ImportError):  # Django 5.2 has no tasks
    from library.views import tasks

    modules.append(tasks)

urlpatterns = [
    path(f"{module.__name__}/{name}/", view.as_view() if isinstance(view, type) else view)
    for module in modules
    for name, view in vars(module).items()
    if getattr(view, "__module__", "") == module.__name__
    and (inspect.isfunction(view) or (isinstance(view, type) and issubclass(view, View)))
]
