"""Wait for a condition with a deadline, never with a sleep in a test."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class NotInTime(AssertionError):
    """The condition did not come true within its time."""


async def a_turn() -> None:
    """Whatever is ready takes a step; no time passes."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_soon(passed.set)
    await passed.wait()


async def eventually(look: Callable[[], Awaitable[T | None]], within_s: float = 10.0, every_s: float = 0.02) -> T:
    """What `look` finds as soon as it is something. Raises NotInTime."""
    deadline = time.monotonic() + within_s
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotInTime(f"did not come true within {within_s:g} s")
        await asyncio.sleep(every_s)
