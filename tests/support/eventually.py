"""Wait for a condition with a deadline, never with a sleep in a test."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], within_s: float = 10.0) -> T:
    deadline = time.monotonic() + within_s
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s:g} s")
        await asyncio.sleep(0.02)
