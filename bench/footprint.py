"""What an idle service costs: resident memory, and the time until it is ready."""

import asyncio
import time

import psutil

from bench.figures import Figure
from bench.http import Connection
from bench.world import World
from deploy.local import processes
from shared.messaging.topics import SERVICES


def _memory(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


async def measure(world: World) -> list[Figure]:
    """The larger of the two processes of each service; the restart of its worker, which joins its groups."""
    started = time.perf_counter()
    pid = world.start_bare()
    await _answers(world)
    bare_ready = time.perf_counter() - started
    bare = _memory(pid)
    figures = []
    for service in SERVICES:
        found = [processes.running(world.stack.home, f"{service}-{role}") for role in ("api", "worker")]
        largest = max(_memory(process.pid) for process in found if process)
        figures.append(Figure(f"footprint_rss_mb_{service}", largest, "MB", bare, "<= 150"))
    part = world.part("intake-worker")
    await asyncio.to_thread(processes.stop, world.stack.home, [part.name])
    started = time.perf_counter()
    world.stack.start_part(part)
    await asyncio.to_thread(world.stack.wait_ready, part)
    ready = time.perf_counter() - started
    return [*figures, Figure("footprint_ready_s", ready, "s", bare_ready, "<= 3")]


async def _answers(world: World) -> None:
    while True:
        connection = Connection("127.0.0.1", world.bare_port)
        try:
            status, _ = await connection.post("/echo", {"name": "x", "number": 1})
        except OSError:
            await asyncio.sleep(0.05)
            continue
        finally:
            connection.close()
        if status == 200:
            return
