"""Wait for a condition with a deadline, never with a sleep in a test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_not_result, stop_after_delay, wait_fixed

T = TypeVar("T")


class NotInTime(AssertionError):
    """The condition did not come true within its time."""


async def a_turn() -> None:
    """Whatever is ready takes a step; no time passes."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_soon(passed.set)
    await passed.wait()


async def eventually(look: Callable[[], Awaitable[T | None]], within_s: float = 10.0, every_s: float = 0.02) -> T:
    """What `look` finds as soon as it is something. Raises NotInTime, and at once what `look` raises."""

    async def found() -> T | None:  # `look` may be a lambda, which tenacity would not wait for
        return await look()

    def too_late(_: RetryCallState) -> NoReturn:
        raise NotInTime(f"did not come true within {within_s:g} s")

    waiting = AsyncRetrying(
        stop=stop_after_delay(within_s),
        wait=wait_fixed(every_s),
        retry=retry_if_not_result(bool),
        retry_error_callback=too_late,
    )
    return cast("T", await waiting(found))
