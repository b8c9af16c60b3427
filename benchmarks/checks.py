"""
How long checkasgi takes on a large project: ``python benchmarks/checks.py [--modules 1000]``.

Makes a project in a temporary folder, with models, views, services and URLs in as many modules, and runs the command's
checks on it, without Django's own import of the project. Prints seconds, by family of checks. Nothing is driven.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PER_APP = 5  # modules: __init__, models, services, views, urls
MODELS = """
    from django.db import models

    class Item{n}(models.Model):
        name = models.CharField(max_length=100)
        parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)
        price = models.DecimalField(max_digits=9, decimal_places=2)

        class Meta:
            app_label = "app{n}"
"""
SERVICES = """
    import logging
    from asgiref.sync import sync_to_async
    from {package}.models import Item{n}

    logger = logging.getLogger(__name__)

    def total(items):
        return sum(item.price for item in items)

    def cheapest():
        return Item{n}.objects.order_by("price").first()

    async def acheapest():
        return await Item{n}.objects.order_by("price").afirst()

    async def names(limit=20):
        found = []
        async for item in Item{n}.objects.all()[:limit]:
            logger.debug("found %s", item.name)
            found.append(item.name.strip().lower())
        return found

    stock = sync_to_async(cheapest)
"""
VIEWS = """
    from django.http import HttpResponse, JsonResponse
    from django.shortcuts import aget_object_or_404, render
    from django.views import View
    from {package} import services
    from {package}.models import Item{n}

    def index(request):
        return render(request, "index.html", {{"items": Item{n}.objects.all()}})

    async def names(request):
        return JsonResponse({{"names": await services.names()}})

    async def detail(request, pk):
        item = await aget_object_or_404(Item{n}, pk=pk)
        cheap = await services.stock()
        return JsonResponse({{"name": item.name, "is_cheapest": cheap is not None and cheap.pk == item.pk}})

    class Listing(View):
        async def get(self, request):
            return HttpResponse(len(await services.names(5)))
"""
URLS = """
    from django.urls import path
    from {package} import views

    urlpatterns = [
        path("", views.index), path("names/", views.names), path("<int:pk>/", views.detail),
        path("listing/", views.Listing.as_view()),
    ]
"""
SETTINGS = """
    SECRET_KEY = "benchmark"
    DEBUG = True
    ROOT_URLCONF = "mysite.urls"
    USE_TZ = True
    DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    INSTALLED_APPS = ["django_asgi_deploy", *(f"shop.app{{n}}" for n in range({apps}))]
"""
SITE_URLS = """
    from django.urls import include, path
    urlpatterns = [path(f"app{{n}}/", include(f"shop.app{{n}}.urls")) for n in range({apps})]
"""
ASGI = """
    from django_asgi_deploy.asgi import get_asgi_application
    application = get_asgi_application("mysite.settings")
"""
MEASURED = """
    import sys, time
    begun = time.perf_counter()
    import django
    django.setup()
    from django_asgi_deploy import conf
    from django_asgi_deploy.checks import inspected, run
    subject = inspected.load(conf.load())
    loaded = time.perf_counter()
    print(f"{loaded - begun:6.2f} s  Django's own: setup, URLconf, application ({len(subject.modules)} modules)")
    count, all_begun, all_used = 0, time.perf_counter(), time.process_time()
    for family in run.FAMILIES:
        begun = time.perf_counter()
        count += len(run.run(subject, [family]).shown)
        if time.perf_counter() - begun > 0.05:
            print(f"{time.perf_counter() - begun:6.2f} s  {family.__module__}")
    wall, used = time.perf_counter() - all_begun, time.process_time() - all_used
    print(f"{wall:6.2f} s  all checks ({used:.2f} s of processor time), {count} findings")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", type=int, default=1000)
    modules = parser.parse_args().modules
    with tempfile.TemporaryDirectory(prefix="checkasgi-") as folder:
        write_project(Path(folder), max(1, modules // PER_APP))
        path = os.pathsep.join([folder, str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        code = textwrap.dedent(MEASURED)
        sys.exit(subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=False).returncode)


def write_project(folder: Path, apps: int) -> None:
    """``shop`` with so many apps, and ``mysite`` with settings and URLs."""
    for name, text in (("__init__", ""), ("settings", SETTINGS), ("urls", SITE_URLS), ("asgi", ASGI)):
        write(folder / "mysite" / f"{name}.py", text.format(apps=apps))
    write(folder / "shop" / "__init__.py", "")
    for n in range(apps):
        parts = {"__init__": "", "models": MODELS, "services": SERVICES, "views": VIEWS, "urls": URLS}
        for name, text in parts.items():
            write(folder / "shop" / f"app{n}" / f"{name}.py", text.format(n=n, package=f"shop.app{n}"))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))


if __name__ == "__main__":
    main()
