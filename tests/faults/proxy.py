"""A TCP proxy that cuts, stalls and half-opens the ways to the stores; it runs in a thread with a loop of its own."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Literal, Self

import psutil

from deploy.local import processes

State = Literal["open", "cut", "stalled", "half_open"]
CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)


class _Link:
    """One connection through a way: the caller's side and the store's."""

    def __init__(self, caller: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        self.caller, self.store, self.deaf = caller, store, False
        self.caller_port: int = caller.get_extra_info("peername")[1]

    def reset(self) -> None:
        """Both ends learn of it at once."""
        for writer in (self.caller, self.store):
            with contextlib.suppress(OSError):
                end: socket.socket = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def half_open(self) -> None:
        """The store's side is gone; the caller is told nothing, and nothing that it sends arrives, ever."""
        self.deaf = True
        self.store.transport.abort()


class Way:
    """One port in front of one target. Its state is changed from any thread."""

    def __init__(self, proxy: "Proxy", target: int) -> None:
        self._proxy, self.target, self.port = proxy, target, processes.free_port()
        self.state: State = "open"
        self._flows = asyncio.Event()
        self._links: set[_Link] = set()

    async def open(self) -> None:
        self._flows.set()
        await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=4 * CHUNK)

    def become(self, state: State) -> None:
        """`cut`: connections are reset and new ones too. `stalled`: bytes wait. `half_open`: bytes vanish."""
        self._proxy.call(lambda: self._become(state))

    def _become(self, state: State) -> None:
        self.state = state
        (self._flows.clear if state == "stalled" else self._flows.set)()
        for link in list(self._links):
            if state == "cut":
                link.reset()
            elif state == "half_open":
                link.half_open()

    def reset_of(self, pid: int) -> None:
        """Reset what this process has open here."""
        ports = _ports_of(pid)
        self._proxy.call(lambda: self._reset_from(ports))

    def _reset_from(self, ports: set[int]) -> None:
        for link in list(self._links):
            if link.caller_port in ports:
                link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state == "cut" or self._proxy.shut_out(writer.get_extra_info("peername")[1]):
            writer.transport.abort()
            return
        if self.state == "half_open":
            with contextlib.suppress(OSError):
                while await reader.read(CHUNK):
                    pass
            writer.transport.abort()
            return
        try:
            there, store = await asyncio.open_connection("127.0.0.1", self.target, limit=4 * CHUNK)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, store)
        self._links.add(link)
        try:
            await asyncio.gather(self._pipe(link, reader, store), self._pipe(link, there, writer))
        finally:
            self._links.discard(link)
            writer.transport.abort()
            store.transport.abort()

    async def _pipe(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                if link.deaf:
                    continue
                writer.write(data)
                await writer.drain()
        if link.deaf:
            return  # the caller must find out by itself
        await self._flows.wait()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


class Proxy:
    """All ways of one stack. A process that is shut out reaches nothing through any of them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._out: int | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def way(self, target: int) -> Way:
        made = Way(self, target)
        asyncio.run_coroutine_threadsafe(made.open(), self._loop).result(10)
        return made

    def call(self, act: Callable[[], object]) -> None:
        """In the proxy's loop; returns when it is done."""

        async def run() -> None:
            act()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def shut(self, pid: int | None) -> None:
        """New connections of this process are reset until `shut(None)`."""
        self.call(lambda: setattr(self, "_out", pid))

    def shut_out(self, caller_port: int) -> bool:
        return self._out is not None and caller_port in _ports_of(self._out)


def _ports_of(pid: int) -> set[int]:
    """The local ports of a process's open connections."""
    try:
        return {row.laddr.port for row in psutil.Process(pid).net_connections("tcp") if row.raddr}
    except psutil.NoSuchProcess:
        return set()
