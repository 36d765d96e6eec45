"""A TCP proxy that sends each connection to a replica that says it is ready, as a service of Kubernetes does."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self

import httpx

from deploy.local import processes
from deploy.local.stack import Part

LOOK_SECONDS = 0.1


class Balancer:
    """Looks at every replica's /readyz ten times a second; in turn among the ready ones."""

    def __init__(self, replicas: Sequence[Part]) -> None:
        self.replicas, self.port = list(replicas), processes.free_port()
        self._ready: list[Part] = []
        self._some = asyncio.Event()
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        if self._looking is not None:
            self._closing.set()
            await self._looking

    async def _look(self) -> None:
        async with httpx.AsyncClient(timeout=0.5) as client:
            while not self._closing.is_set():
                found = []
                for part in self.replicas:
                    with contextlib.suppress(httpx.HTTPError):
                        answer = await client.get(f"http://127.0.0.1:{part.health_port}/readyz")
                        found += [part] if answer.status_code == 200 else []
                self._ready = found
                (self._some.set if found else self._some.clear)()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), LOOK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._some.wait()
        self._turn += 1
        part = self._ready[self._turn % len(self._ready)]
        there = await asyncio.open_connection("127.0.0.1", part.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
