"""Certificates that are renewed while a server runs, and clients that don't finish their handshake."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import require_program
from tests.utils import DEADLINE_SECONDS, Server, Site

TYPES = {"rsa": ["rsa:2048"], "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}


def make_pair(folder: Path, kind: str = "ec") -> tuple[bytes, bytes]:
    """A certificate for localhost, and its key, in PEM."""
    certificate, key = folder / "made-cert.pem", folder / "made-key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    openssl = require_program("openssl")
    command = [openssl, "req", "-x509", "-newkey", *TYPES[kind], "-nodes", "-days", "1", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return certificate.read_bytes(), key.read_bytes()


def connect(server: Server) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(server.connect(), server_hostname="localhost")


def served(server: Server) -> bytes:
    """The certificate that a new client gets, in PEM."""
    with connect(server) as sock:
        certificate = sock.getpeercert(binary_form=True)
    assert certificate
    return ssl.DER_cert_to_PEM_cert(certificate).encode()


def ask(sock: socket.socket) -> bytes:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"Hello" not in received:
        chunk = sock.recv(65536)
        assert chunk, received
        received += chunk
    return received


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_renewed_certificate_is_served_and_no_connection_is_dropped(site: Site, tmp_path: Path, loop: str) -> None:
    """From RSA to an elliptic curve, as certbot did: none of the old one is left."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    old, new = make_pair(tmp_path, "rsa"), make_pair(tmp_path, "ec")
    certificate.write_bytes(old[0])
    key.write_bytes(old[1])
    arguments = ["--loop", loop, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with site.serve(*arguments, "--keep-alive-seconds", "600") as server, connect(server) as kept:
        ask(kept)
        assert served(server) == old[0]
        certificate.write_bytes(new[0])
        key.write_bytes(new[1])
        wait_until(lambda: served(server) == new[0])
        ask(kept)
        assert server.output.count("new connections get the new certificate") == 1
        with connect(server) as fresh:
            ask(fresh)


def test_a_link_that_leads_elsewhere_is_a_renewal_too(site: Site, tmp_path: Path) -> None:
    """As Kubernetes does it: cert.pem -> current/cert.pem, and current is replaced by renaming."""
    pairs = [make_pair(tmp_path), make_pair(tmp_path)]
    for number, (certificate, key) in enumerate(pairs):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "cert.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
    current = tmp_path / "current"
    current.symlink_to("0")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).symlink_to(f"current/{name}")
    arguments = ["--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem")]
    with site.serve(*arguments) as server:
        assert served(server) == pairs[0][0]
        (tmp_path / "next").symlink_to("1")
        os.replace(tmp_path / "next", current)
        wait_until(lambda: served(server) == pairs[1][0])


def test_a_pair_that_does_not_fit_is_refused_once_and_the_old_one_stays(site: Site, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    old, new = make_pair(tmp_path), make_pair(tmp_path)
    certificate.write_bytes(old[0])
    key.write_bytes(old[1])
    with site.serve("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as server:
        assert served(server) == old[0]
        certificate.write_bytes(new[0])
        server.wait_for(r"cert.pem: changed, and can't be used \(KEY_VALUES_MISMATCH\). The old certificate stays.")
        assert served(server) == old[0]
        key.write_bytes(new[1])
        wait_until(lambda: served(server) == new[0])
        assert server.output.count("can't be used") == 1
        assert "Traceback" not in server.output


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_handshake_that_does_not_end_is_cut_and_stops_nobody(site: Site, tmp_path: Path, loop: str) -> None:
    certificate, key = make_pair(tmp_path)
    (tmp_path / "both.pem").write_bytes(certificate + key)
    arguments = ["--loop", loop, "--ssl-certfile", str(tmp_path / "both.pem"), "--ssl-handshake-timeout-seconds", "2"]
    with site.serve(*arguments) as server, server.connect() as silent, server.connect() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with connect(server) as sock:
            ask(sock)
        for sock in (silent, plain):
            try:
                while sock.recv(1000):
                    pass
            except ConnectionError:
                pass
        assert server.stop() == 0
        assert "Traceback" not in server.output
