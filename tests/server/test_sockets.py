"""The listening sockets, opened for real."""

import os
import socket
import threading
from pathlib import Path

import pytest

from django_asgi_deploy.addresses import InheritedAddress, TCPAddress, UnixAddress, parse_address
from django_asgi_deploy.exceptions import AddressError
from django_asgi_deploy.server.sockets import Sockets


def accepted(listener: socket.socket) -> socket.socket:
    """A connection that ``listener`` took."""
    listener.listen()
    address = listener.getsockname()
    client = socket.socket(listener.family)
    thread = threading.Thread(target=client.connect, args=(address,))
    thread.start()
    connection, _ = listener.accept()
    thread.join()
    client.close()
    return connection


@pytest.mark.parametrize("address", [TCPAddress("127.0.0.1", 0), TCPAddress("::1", 0)])
def test_connections_of_our_own_sockets_have_no_delay(address: TCPAddress) -> None:
    with Sockets([address]) as sockets, accepted(sockets.sockets[0]) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_connections_of_an_inherited_socket_have_no_delay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made, Sockets([InheritedAddress(os.dup(made.fileno()))]) as sockets:
        adopted = sockets.sockets[0]
        assert (adopted.family, adopted.proto) == (socket.AF_INET, socket.IPPROTO_TCP)
        with accepted(adopted) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_kernel_tells_the_family_of_an_inherited_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with Sockets([InheritedAddress(os.dup(made.fileno()))]) as sockets:
            assert sockets.sockets[0].family == socket.AF_UNIX


def test_a_datagram_socket_is_refused_and_left_open() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        with pytest.raises(AddressError, match="not a stream socket"):
            Sockets([InheritedAddress(made.fileno())])
        made.getsockname()


def test_all_addresses_of_a_name_share_one_port_even_a_free_one() -> None:
    with Sockets([TCPAddress("localhost", 0)]) as sockets:
        assert len({sock.getsockname()[1] for sock in sockets.sockets}) == 1


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    with Sockets([TCPAddress("::", 0)]) as sockets:
        sockets.sockets[0].listen()
        socket.create_connection(("127.0.0.1", sockets.sockets[0].getsockname()[1])).close()


def test_both_wildcards_can_be_bound_on_one_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Sockets([TCPAddress("::", port), TCPAddress("0.0.0.0", port)]) as sockets:
        assert len(sockets.sockets) == 2


def test_a_failure_closes_and_unlinks_what_was_opened_before_it(tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        Sockets([UnixAddress(str(tmp_path / "first")), UnixAddress(str(tmp_path / "no" / "second"))])
    assert list(tmp_path.iterdir()) == []


def test_closing_leaves_a_socket_that_somebody_else_has_put_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets = Sockets([UnixAddress(str(path))])
    path.rename(tmp_path / "kept")  # so that the new file can't get the same inode
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        sockets.close()
        assert path.exists()


@pytest.mark.parametrize("text", ["127.0.0.1:8000", "[::1]:8000", "localhost:8000", "unix:/run/x.sock", "fd://3"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text


def test_a_port_alone_is_on_loopback() -> None:
    assert parse_address("8000") == TCPAddress("127.0.0.1", 8000)
