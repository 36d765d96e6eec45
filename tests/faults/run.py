"""One round: traffic, faults in the middle of it, time to settle, and the checker's word."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from tests.faults.checker import Violation, check
from tests.faults.history import Observed
from tests.faults.system import System
from tests.faults.traffic import Traffic

SETTLE_SECONDS = 60.0
Act = Callable[[System], Awaitable[None]]


async def play(system: System, faults: Mapping[str, Act], seed: int, calm_s: float = 1.0) -> list[Violation]:
    """Traffic, the faults one after the other, calm; returns what is wrong when everything had time to settle."""
    traffic = Traffic(system, system.history, seed)
    try:
        await traffic.prepare()
        running = [asyncio.create_task(traffic.inquiries(8)), asyncio.create_task(traffic.episodes(1.0))]
        for name, act in faults.items():
            await asyncio.sleep(calm_s)
            async with system.fault(name):
                await act(system)
                await system.ready()
        await asyncio.sleep(calm_s)
        traffic.stop.set()
        async with asyncio.timeout(SETTLE_SECONDS):
            await asyncio.gather(*running)
        await traffic.answer_all()
        return await settled(system)
    finally:
        traffic.stop.set()
        await traffic.close()


async def settled(system: System) -> list[Violation]:
    """What is wrong when everything had a minute to come right."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        observed = await system.observe()
        found = check(system.history, observed)
        if not found or time.monotonic() > deadline:
            return found + _left_over(observed)
        await asyncio.sleep(1)


def _left_over(seen: Observed) -> list[Violation]:
    waiting = [row for row in seen.messages if row["state"] in ("pending", "waiting")]
    return [Violation("delivered", f"message {row['_id']} is {row['state']}") for row in waiting]
