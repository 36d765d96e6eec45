"""Micro-batches of readings: what arrives while one batch is being committed is the next one.

Nobody lingers: a reading that comes alone is committed alone, at once; under load up to 200 readings share a transaction.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from services.monitoring.memory import Memory
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.readings import Delivery, Results, take
from shared.errors import StillwaterError, Unavailable
from shared.persistence.mongo import Mongo, UnitOfWork

BATCH_READINGS = 200
AT_ONCE = 2
WAITING = 2000


@dataclass
class _Waiter:
    delivery: Delivery
    answer: asyncio.Future[Results]


class Ingest:
    """One per process. When the store fails every waiter is told 503, and the readings are judged in memory alone."""

    def __init__(self, mongo: Mongo, deps: Deps, memory: Memory) -> None:
        self._mongo, self._deps, self._memory = mongo, deps, memory
        self._waiting: deque[_Waiter] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def deliver(self, delivery: Delivery) -> Results:
        """Returns when the readings and every alarm that they caused are committed. Raises NotFound, Unavailable."""
        if len(self._waiting) >= WAITING:
            raise Unavailable("Too many readings are waiting; send them again.")
        waiter = _Waiter(delivery, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._start()
        return await waiter.answer

    def _start(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            task = asyncio.create_task(self._commit(self._next()))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _next(self) -> list[_Waiter]:
        batch, readings = list[_Waiter](), 0
        while self._waiting and (not batch or readings + len(self._waiting[0].delivery.readings) <= BATCH_READINGS):
            batch.append(self._waiting.popleft())
            readings += len(batch[-1].delivery.readings)
        return batch

    async def _commit(self, batch: list[_Waiter]) -> None:
        deliveries = [waiter.delivery for waiter in batch]
        try:
            answers: Sequence[Results | StillwaterError] = await self._run(deliveries)
        except StillwaterError as error:
            self._memory.judge(deliveries)
            answers = [error for _ in batch]
        except Exception:  # noqa: BLE001 - whatever it was, nobody may wait for ever and nothing is assumed
            answers = [Unavailable() for _ in batch]
        else:
            self._memory.evaluated({delivery.session_id for delivery in deliveries})
        for waiter, answer in zip(batch, answers, strict=True):
            if waiter.answer.done():
                continue
            if isinstance(answer, StillwaterError):
                waiter.answer.set_exception(answer)
            else:
                waiter.answer.set_result(answer)

    async def _run(self, deliveries: list[Delivery]) -> list[Results | StillwaterError]:
        runs = 0

        async def work(unit: UnitOfWork) -> list[Results | StillwaterError]:
            nonlocal runs
            runs += 1
            return await take(unit, self._deps, deliveries, repeated=runs > 1)

        return await self._mongo.run(deliveries[0].scope, work)
