"""The system under test: api and worker as processes of their own on a fresh stack, and a pager's sink with a clock."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.http import Connection
from deploy.local import processes
from deploy.local.stack import Part, Stack
from shared.messaging.topics import SERVICES


class Sink:
    """A pager provider that notes when each page arrived, and the alarms it was about, by room and sign."""

    def __init__(self) -> None:
        self.arrived: dict[tuple[str, str], float] = {}
        self.alarms: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._server: asyncio.Server | None = None
        self.port = processes.free_port()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body: dict[str, Any] = orjson.loads(await reader.readexactly(length))
                now = time.perf_counter()
                for sign in body.get("signs", ()):
                    self.arrived.setdefault((body["room"], sign["sign"]), now)
                    self.alarms[body["room"], sign["sign"]].add(body["alarm_id"])
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()


class World:
    """A stack with split roles; `bare` is the yardstick process beside it, and how many seconds it took to answer."""

    def __init__(self, stack: Stack, sink: Sink) -> None:
        self.stack, self.sink = stack, sink
        self.bare_port, self.bare_pid, self.bare_ready_s = processes.free_port(), 0, 0.0

    def part(self, name: str) -> Part:
        return next(part for part in self.stack.parts if part.name == name)

    @contextlib.asynccontextmanager
    async def without(self, *roles: str) -> AsyncIterator[None]:
        """On two cores what those make of it, or what they ask of the store, would be measured along with it."""
        stopped = [part for part in self.stack.parts if part.role in roles]
        await asyncio.to_thread(processes.stop, self.stack.home, [part.name for part in stopped])
        try:
            yield
        finally:
            for part in stopped:
                await asyncio.to_thread(self.stack.start_part, part)
            for part in stopped:
                await asyncio.to_thread(self.stack.wait_ready, part)

    async def start_bare(self) -> None:
        arguments = [str(self.bare_port), self.stack.mongodb_uri, self.stack.kafka]
        began = time.perf_counter()
        self.bare_pid = processes.start(self.stack.home, "bare", [sys.executable, "-m", "bench.bare", *arguments])
        while not await self._bare_answers():
            await asyncio.sleep(0.05)
        self.bare_ready_s = time.perf_counter() - began

    async def _bare_answers(self) -> bool:
        connection = Connection("127.0.0.1", self.bare_port)
        try:
            status, _ = await connection.post("/echo", {"name": "x", "number": 1})
        except OSError:
            return False
        finally:
            connection.close()
        return status == 200

    async def topic(self, name: str, partitions: int) -> str:
        """A topic of its own for one measurement."""
        unique = f"bench.{name}.{time.time_ns()}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka)
        await admin.start()
        await admin.create_topics([NewTopic(unique, partitions, 1)])
        await admin.close()
        return unique


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="stillwater-bench-") as folder:
        stack, sink = Stack(Path(folder), random_ports=True), Sink()
        await sink.start()
        for service in SERVICES:  # as in production: most traces are not kept, and those that are go elsewhere
            stack.overrides |= {f"{service.upper()}_OTLP_ENDPOINT": "", f"{service.upper()}_TRACE_RATIO": "0.05"}
        stack.overrides["NOTIFICATIONS_PAGER_URL"] = f"http://127.0.0.1:{sink.port}/"
        try:
            await asyncio.to_thread(stack.up, replicas=1)
            made = World(stack, sink)
            await made.start_bare()
            yield made
        finally:
            await asyncio.to_thread(stack.down)
