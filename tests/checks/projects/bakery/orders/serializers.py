from rest_framework import permissions, serializers

from orders.models import Order


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ("number",)

    async def create(self, validated_data):  # expect: 308
        return await Order.objects.acreate(**validated_data)


class IsBaker(permissions.BasePermission):
    async def has_permission(self, request, view):  # expect: 308
        return False


class IsCustomer(permissions.BasePermission):
    def has_permission(self, request, view):
        return True
