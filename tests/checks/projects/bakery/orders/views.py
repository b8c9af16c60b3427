from adrf.decorators import api_view as async_api_view
from adrf.views import APIView as AsyncAPIView
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from orders.forms import OrderForm
from orders.serializers import IsBaker, IsCustomer, OrderSerializer


class Orders(APIView):
    async def get(self, request):  # expect: 312
        return Response([])


@api_view(["GET"])
async def prices(request):  # expect: 312
    return Response({"roll": 1})


class Breads(ViewSet):
    async def list(self, request):  # expect: 312
        return Response(["rye"])

    @action(detail=False)
    def oldest(self, request):
        return Response("rye")


class Cakes(ViewSet):
    def list(self, request):
        return Response(["plum"])

    @action(detail=False)
    async def newest(self, request):  # expect: 312
        return Response("plum")


class SyncOrders(APIView):
    def get(self, request):
        return Response([])


@api_view(["GET"])
def sync_prices(request):
    return Response({"roll": 1})


class AsyncOrders(AsyncAPIView):
    async def get(self, request):
        return Response([])


@async_api_view(["GET"])
async def async_prices(request):
    return Response({"roll": 1})


class ForBakers(APIView):
    """Nobody is a baker; but the permission is a coroutine."""

    permission_classes = (IsBaker,)

    def get(self, request):
        return Response([])


class ForCustomers(APIView):
    permission_classes = (IsCustomer,)

    def get(self, request):
        return Response(OrderSerializer().data | {"form": list(OrderForm().fields)})
