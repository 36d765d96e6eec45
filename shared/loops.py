"""The background loops of a process: started, started again when they die, and watched for their attempts."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.clock import Clock
from shared.telemetry.metrics import TASK_RESTARTS

log = logging.getLogger(__name__)

LIVE_SECONDS = 60.0
Task = Callable[[asyncio.Event], Awaitable[None]]


class Looping(Protocol):
    """What works until `stop` and stamps each round, whether that round succeeds or not."""

    last_attempt: float

    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True)
class Loop:
    """`last_attempt` answers with the monotonic second of the newest round; `within_s` is how long one may take."""

    run: Task
    last_attempt: Callable[[], float]
    within_s: float = LIVE_SECONDS

    @classmethod
    def of(cls, looping: Looping, within_s: float = LIVE_SECONDS) -> "Loop":
        return cls(looping.run, lambda: looping.last_attempt, within_s)


class Loops:
    """Those of one process, by name."""

    def __init__(self, clock: Clock, loops: Mapping[str, Loop]) -> None:
        self._clock, self._loops = clock, dict(loops)
        self._started: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()

    def start(self, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        self._stop = stop
        self._started = {
            name: asyncio.create_task(_supervise(name, loop.run, stop)) for name, loop in self._loops.items()
        }
        return list(self._started.values())

    def alive(self) -> dict[str, bool]:
        """False for a loop that has ended before its time and for one that is stuck in a round."""
        now = self._clock.monotonic()
        return {
            name: now - loop.last_attempt() < loop.within_s and self._goes_on(name)
            for name, loop in self._loops.items()
        }

    def _goes_on(self, name: str) -> bool:
        task = self._started.get(name)
        return self._stop.is_set() or task is None or not task.done()


async def _supervise(name: str, run: Task, stop: asyncio.Event) -> None:
    """A loop that dies or ends is started again after a second, counted and logged by the class of its error."""
    while not stop.is_set():
        error = "ended"
        try:
            await run(stop)
        except Exception as fault:  # noqa: BLE001 - the last line of defence of a background loop
            error = type(fault).__name__
        if stop.is_set():
            return
        TASK_RESTARTS.labels(name).inc()
        log.error("task.died", extra={"task": name, "error": error})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)
