"""What an idle service costs: resident memory, and the time until it is ready."""

import asyncio
import time

import psutil

from bench.figures import Figure
from bench.world import World
from deploy.local import processes
from shared.messaging.topics import SERVICES


def _memory(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


async def measure(world: World) -> list[Figure]:
    """The larger of the two processes of each service; the restart of its worker, which joins its groups."""
    bare = _memory(world.bare_pid)
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
    return [*figures, Figure("footprint_ready_s", ready, "s", world.bare_ready_s, "<= 3")]
