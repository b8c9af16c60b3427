from django.urls import path

from .live import consumers

websocket_urlpatterns = [
    path("ws/ticker/<str:name>/", consumers.TickerConsumer.as_asgi()),
    path("ws/room/", consumers.RoomConsumer.as_asgi()),
    path("ws/chat/", consumers.ChatConsumer.as_asgi()),
]
