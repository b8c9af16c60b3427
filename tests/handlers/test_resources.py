"""What open streams and large files cost a real server: threads and memory, read from /proc."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")

MB = 2**20
ROOT = Path(__file__).parents[2]


class Server:
    def __init__(self, process, port):
        self.process, self.port = process, port

    def status(self, key):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1))

    @property
    def threads(self):
        return self.status("Threads")

    @property
    def memory(self):
        return self.status("VmRSS") * 1024

    async def open(self, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**16)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def get(self, path):
        reader, writer = await self.open(path)
        await reader.read(1)
        writer.close()


@pytest.fixture
def server(tmp_path):
    with run_server(tmp_path) as server:
        yield server


@contextmanager
def run_server(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as large:
        large.truncate(300 * MB)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "tests.handlers.resource_site:app", "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            [*command, "--log-level", "warning", "--no-access-log"],
            cwd=ROOT,
            env={**os.environ, "RESOURCE_FILE": str(file)},
            pass_fds=[listener.fileno()],
        )
    try:
        yield Server(process, port)
    finally:
        process.kill()
        process.wait(20)


async def warm_up(server):
    async with asyncio.timeout(60):
        for path in ("/hello", "/events", "/file"):
            await server.get(path)


def test_a_thousand_open_event_streams_need_no_thread_and_little_memory(server):
    async def main():
        await warm_up(server)
        threads, memory = server.threads, server.memory
        async with asyncio.timeout(60):
            streams = [await server.open("/events") for _ in range(1000)]
            for reader, _ in streams:
                await reader.readuntil(b"data: 1")
        assert server.threads <= threads + 8
        assert server.memory - memory <= 30 * MB
        await server.get("/hello")
        for _, writer in streams:
            writer.close()

    asyncio.run(main())


def test_a_file_of_300_mb_passes_through_in_pieces_as_fast_as_it_is_taken(server):
    async def main():
        await warm_up(server)
        memory = server.memory
        reader, writer = await server.open("/file")
        received, peak = 0, 0
        await asyncio.sleep(0.2)  # nobody takes it: it must not pile up in the server
        async with asyncio.timeout(120):
            while received < 300 * MB:
                peak = max(peak, server.memory)
                received += len(await reader.read(8 * MB))
        assert received == 300 * MB
        assert peak - memory <= 10 * MB
        writer.close()

    asyncio.run(main())


def test_an_endless_synchronous_stream_ends_when_its_client_leaves(server):
    async def main():
        await warm_up(server)
        reader, writer = await server.open("/ticks")
        async with asyncio.timeout(60):
            await reader.readuntil(b"tick")
            writer.close()
            answer, other = await server.open("/was-closed")
            assert await answer.readexactly(4) == b"True"
            other.close()

    asyncio.run(main())
