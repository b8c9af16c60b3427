from django.urls import include, path
from orders import views
from rest_framework.routers import SimpleRouter

router = SimpleRouter()
router.register("breads", views.Breads, basename="breads")
router.register("cakes", views.Cakes, basename="cakes")

urlpatterns = [
    path("orders/", views.Orders.as_view()),
    path("prices/", views.prices),
    path("sync-orders/", views.SyncOrders.as_view()),
    path("sync-prices/", views.sync_prices),
    path("async-orders/", views.AsyncOrders.as_view()),
    path("async-prices/", views.async_prices),
    path("for-bakers/", views.ForBakers.as_view()),
    path("for-customers/", views.ForCustomers.as_view()),
    path("", include(router.urls)),
]
