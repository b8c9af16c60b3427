"""
What checkasgi says of other people's middleware and views: a table for docs/checks-middleware.rst.

``python benchmarks/precision_middleware.py``, with what precision_middleware.txt names installed. Each middleware is at
its place in one MIDDLEWARE, and the URLs of those packages that have any are in the URLconf. What isn't installed is
named on standard error.
"""

import importlib.util
import os
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

# Distribution: (apps, middleware, the module of its URLs)
PACKAGES: dict[str, tuple[list[str], list[str], str]] = {
    "django-cors-headers": (["corsheaders"], ["corsheaders.middleware.CorsMiddleware"], ""),
    "whitenoise": ([], ["whitenoise.middleware.WhiteNoiseMiddleware"], ""),
    "servestatic": ([], ["servestatic.middleware.ServeStaticMiddleware"], ""),
    "django-debug-toolbar": (["debug_toolbar"], ["debug_toolbar.middleware.DebugToolbarMiddleware"], ""),
    "django-silk": (["silk"], ["silk.middleware.SilkyMiddleware"], "silk.urls"),
    "django-prometheus": (
        ["django_prometheus"],
        [f"django_prometheus.middleware.Prometheus{each}Middleware" for each in ("Before", "After")],
        "django_prometheus.urls",
    ),
    "django-guid": (["django_guid"], ["django_guid.middleware.guid_middleware"], ""),
    "django-request-id": (["request_id"], ["request_id.middleware.RequestIdMiddleware"], ""),
    "django-log-request-id": ([], ["log_request_id.middleware.RequestIDMiddleware"], ""),
    "django-structlog": (["django_structlog"], ["django_structlog.middlewares.RequestMiddleware"], ""),
    "django-zeal": (["zeal"], ["zeal.middleware.zeal_middleware"], ""),
    "django-browser-reload": (
        ["django_browser_reload"],
        ["django_browser_reload.middleware.BrowserReloadMiddleware"],
        "django_browser_reload.urls",
    ),
    "django-allauth": (
        ["allauth", "allauth.account", "allauth.usersessions"],
        ["allauth.account.middleware.AccountMiddleware", "allauth.usersessions.middleware.UserSessionsMiddleware"],
        "allauth.account.urls",
    ),
    "django-otp": (["django_otp"], ["django_otp.middleware.OTPMiddleware"], ""),
    "django-axes": (["axes"], ["axes.middleware.AxesMiddleware"], ""),
    "django-hijack": (["hijack"], ["hijack.middleware.HijackUserMiddleware"], "hijack.urls"),
    "django-impersonate": (["impersonate"], ["impersonate.middleware.ImpersonateMiddleware"], "impersonate.urls"),
    "django-oauth-toolkit": (
        ["oauth2_provider"],
        ["oauth2_provider.middleware.OAuth2TokenMiddleware"],
        "oauth2_provider.urls",
    ),
    "social-auth-app-django": (
        ["social_django"],
        ["social_django.middleware.SocialAuthExceptionMiddleware"],
        "social_django.urls",
    ),
    "django-auditlog": (["auditlog"], ["auditlog.middleware.AuditlogMiddleware"], ""),
    "django-easy-audit": (["easyaudit"], ["easyaudit.middleware.easyaudit.EasyAuditMiddleware"], ""),
    "django-reversion": (["reversion"], ["reversion.middleware.RevisionMiddleware"], ""),
    "django-simple-history": (["simple_history"], ["simple_history.middleware.HistoryRequestMiddleware"], ""),
    "django-pghistory": ([], ["pghistory.middleware.HistoryMiddleware"], ""),
    "django-currentuser": ([], ["django_currentuser.middleware.ThreadLocalUserMiddleware"], ""),
    "django-multitenant": ([], ["django_multitenant.middlewares.MultitenantMiddleware"], ""),
    "django-tenants": ([], ["django_tenants.middleware.main.TenantMainMiddleware"], ""),
    "django-user-agents": (["django_user_agents"], ["django_user_agents.middleware.UserAgentMiddleware"], ""),
    "django-htmx": (["django_htmx"], ["django_htmx.middleware.HtmxMiddleware"], ""),
    "django-csp": (["csp"], ["csp.middleware.CSPMiddleware"], ""),
    "django-waffle": (["waffle"], ["waffle.middleware.WaffleMiddleware"], "waffle.urls"),
    "django-maintenance-mode": (
        ["maintenance_mode"],
        ["maintenance_mode.middleware.MaintenanceModeMiddleware"],
        "maintenance_mode.urls",
    ),
    "opentelemetry-instrumentation-django": (
        [],
        ["opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware"],
        "",
    ),
    "wagtail": (
        [
            *(
                f"wagtail.{each}"
                for each in ("contrib.forms", "contrib.redirects", "contrib.settings", "embeds", "sites")
            ),
            *(f"wagtail.{each}" for each in ("users", "snippets", "documents", "images", "search", "admin")),
            "wagtail",
            "modelcluster",
            "taggit",
        ],
        ["wagtail.contrib.redirects.middleware.RedirectMiddleware"],
        "wagtail.admin.urls",
    ),
    "django-health-check": (["health_check"], [], ""),
}
BACKENDS = ["axes.backends.AxesStandaloneBackend", "allauth.account.auth_backends.AuthenticationBackend"]
URLS, SETTINGS = "precision_urls", "precision_settings"


def main() -> None:
    configure()
    import django

    django.setup()
    from django_asgi_deploy import conf
    from django_asgi_deploy.checks import (
        called,
        classes,
        costs,
        dispatch,
        middleware_code,
        modes,
        overrides,
        rest_framework,
        twins,
        views,
    )
    from django_asgi_deploy.checks.inspected import Inspected
    from django_asgi_deploy.checks.run import run

    add_urls()
    families = [
        each.check
        for each in (modes, costs, middleware_code, views, classes, dispatch, overrides, rest_framework, twins, called)
    ]
    inspected = Inspected(conf.load())
    for finding in run(inspected, families).shown:
        place = f"{finding.place}" if finding.place else ""
        print(finding.id, finding.level, finding.object, place, finding.message, sep="\t")
    print(f"{len(inspected.replay.used)} middleware, {len(inspected.routes)} routes", file=sys.stderr)
    if inspected.replay.error:
        print(f"MIDDLEWARE can't be built as a whole: {inspected.replay.error!r}", file=sys.stderr)


def configure() -> None:
    """A settings module, as some packages look for one by its name."""
    apps: list[str] = []
    middleware: list[str] = []
    for name, (its_apps, its_middleware, _) in PACKAGES.items():
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            print(f"not installed: {name}", file=sys.stderr)
            continue
        apps += its_apps
        middleware += its_middleware
    contrib = ("admin", "auth", "contenttypes", "sessions", "messages", "sites", "staticfiles")
    settings: dict[str, Any] = dict(  # noqa: C408, reads as settings do
        SECRET_KEY="for-a-look-only",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=URLS,
        SITE_ID=1,
        STATIC_URL="/static/",
        STATIC_ROOT=None,
        MEDIA_URL="/media/",
        INSTALLED_APPS=["django_asgi_deploy", *(f"django.contrib.{each}" for each in contrib), *apps],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
            *middleware,
        ],
        AUTHENTICATION_BACKENDS=[path for path in BACKENDS if importlib.util.find_spec(path.partition(".")[0])],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        LOGGING_CONFIG=None,
        WAGTAIL_SITE_NAME="Precision",
        WAGTAILADMIN_BASE_URL="http://localhost",
        DJANGO_GUID={},
        TENANT_MODEL="sites.Site",
        TENANT_DOMAIN_MODEL="sites.Site",
        ASGI_DEPLOY={"HANDLER": "django"},
    )
    sys.modules[URLS], sys.modules[SETTINGS] = ModuleType(URLS), ModuleType(SETTINGS)
    vars(sys.modules[SETTINGS]).update(settings, __file__=__file__)
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS


def add_urls() -> None:
    from django.contrib import admin
    from django.urls import include, path

    patterns = [path("admin/", admin.site.urls)]
    for name, (_, _, urls) in PACKAGES.items():
        if urls and importlib.util.find_spec(urls.partition(".")[0]):
            patterns.append(path(f"{name}/", include(urls)))
    patterns += asynchronous_views()
    vars(sys.modules[URLS])["urlpatterns"] = patterns


def asynchronous_views() -> list[Any]:
    """Of packages that give views, not URLs."""
    from django.urls import path

    found: list[Any] = []
    if importlib.util.find_spec("health_check"):
        from health_check.views import HealthCheckView

        found.append(path("health/", HealthCheckView.as_view()))
    if importlib.util.find_spec("ninja"):
        from ninja import NinjaAPI

        api = NinjaAPI()

        @api.get("/items")
        async def items(request: Any) -> list[int]:
            return []

        found.append(path("ninja/", api.urls))
    if importlib.util.find_spec("strawberry"):
        import strawberry
        from strawberry.django.views import AsyncGraphQLView

        query = strawberry.type(type("Query", (), {"__annotations__": {"name": str}}))
        found.append(path("graphql/", AsyncGraphQLView.as_view(schema=strawberry.Schema(query=query))))
    if importlib.util.find_spec("adrf"):
        from adrf.views import APIView

        class Orders(APIView):
            async def get(self, request: Any) -> None: ...

        found.append(path("adrf/", Orders.as_view()))
    return found


if __name__ == "__main__":
    main()
