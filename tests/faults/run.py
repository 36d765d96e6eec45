"""One round: traffic, faults in the middle of it, time to settle, and the checker's word."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.faults.checker import check
from tests.faults.system import System
from tests.faults.traffic import Traffic
from tests.faults.violation import Violation
from tests.support.eventually import NotInTime, eventually

SETTLE_SECONDS, LOOK_SECONDS = 120.0, 3.0
Act = Callable[[System], Awaitable[None]]


async def play(
    system: System, steps: Sequence[Mapping[str, Act]], seed: int, calm: Callable[[], int] = lambda: 15
) -> list[Violation]:
    """Traffic, the steps one after the other, calm; returns what is wrong when everything had time to settle.

    The faults of one step happen at the same time. Between two steps lie as many requests as `calm` says.
    """
    traffic = Traffic(system, seed)
    try:
        await traffic.prepare()
        running = asyncio.create_task(traffic.run())
        for step in steps:
            await system.asked(calm())
            await _make(system, step)
            if running.done():
                running.result()
        await system.asked(calm())
        traffic.stop.set()
        return await _come_to_rest(traffic, running) + await settled(system)
    finally:
        traffic.stop.set()
        await traffic.client.close()


async def _come_to_rest(traffic: Traffic, running: asyncio.Task[None]) -> list[Violation]:
    """Everything that was begun is done, and every alarm is answered, within the time that there is."""
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await running
            await traffic.answer_all()
    except TimeoutError:
        words = "commands without an answer" if not running.done() or running.cancelled() else "alarms not accepted"
        return [Violation("comes_to_rest", f"{words} {SETTLE_SECONDS:g} s after the last fault")]
    return []


async def _make(system: System, step: Mapping[str, Act]) -> None:
    """All at once; their shadow lasts until everything runs again."""
    async with contextlib.AsyncExitStack() as spans:
        for name in step:
            await spans.enter_async_context(system.fault(name))
        await asyncio.gather(*(act(system) for act in step.values()))
        await system.ready()


async def settled(system: System) -> list[Violation]:
    """What is wrong when everything had time to come right."""
    found: list[Violation] = []

    async def clean() -> bool:
        nonlocal found
        system.seen = await system.observe()
        found = check(system.history, system.seen)
        return not found

    with contextlib.suppress(NotInTime):
        await eventually(clean, SETTLE_SECONDS, LOOK_SECONDS)
    return found
