"""The chart's process: started when somebody asks for a chart, ended when nobody has for a minute (ADR 14)."""

import asyncio
import contextlib
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable

from shared.errors import Unavailable

IDLE_SECONDS = 60.0
LOOK_SECONDS = 5.0
DRAW_SECONDS = 20.0
WAITING = 8


class Charts:
    """One picture at a time; who asks when too many wait is told to come again."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._used_at = self.last_attempt = self._now()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._now()
            if not self._turn.locked() and self._now() - self._used_at > IDLE_SECONDS:
                await self.end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        await self.end()

    async def draw(self, chart: bytes) -> bytes:
        """SVG of an encoded chart. Raises Unavailable when too many wait, and when it was not drawn in time."""
        if self._waiting >= WAITING:
            raise Unavailable("Too many charts are being drawn; try again.", retry_after_s=5)
        self._waiting += 1
        try:
            async with asyncio.timeout(DRAW_SECONDS), self._turn:
                return await self._draw(chart)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            raise Unavailable("The chart could not be drawn; try again.") from None
        finally:
            self._waiting -= 1
            self._used_at = self._now()

    async def _draw(self, data: bytes) -> bytes:
        """Cut short, the process is not in step any more: it is ended, and the next chart has a new one."""
        whole = False
        try:
            process = await self._started()
            assert process.stdin is not None  # noqa: S101 - PIPE below
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(struct.pack(">I", len(data)) + data)
            await process.stdin.drain()
            (length,) = struct.unpack(">I", await process.stdout.readexactly(4))
            svg = await process.stdout.readexactly(length)
            whole = True
        finally:
            if not whole:
                await asyncio.shield(self.end())
        if not svg:
            raise Unavailable("The chart could not be drawn.")
        return svg

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            command = (sys.executable, "-m", "services.monitoring.chart_process")
            self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        return self._process

    async def end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
