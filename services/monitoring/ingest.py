"""Micro-batches of readings: a few calm ones wait 10 ms for company, a value that may be an alarm for nothing (ADR 7).

What arrives while two batches are being committed is the next one; up to 200 readings share a transaction.
Devices take turns, and what is long is committed in parts, so that none of them holds up another.
"""

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.monitoring import schemas
from services.monitoring.flood import Flood
from services.monitoring.memory import Memory
from services.monitoring.recent import Recent
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.readings import Answers, Delivery, Results, take
from services.monitoring.vitals import MANUAL, Outcome
from shared.errors import StillwaterError, Unavailable
from shared.persistence.mongo import Mongo, UnitOfWork

log = logging.getLogger(__name__)

BATCH_READINGS, BATCH_SECONDS = 200, 0.01
ENOUGH = 40  # so many cost more than their transaction does: company would save little
AT_ONCE, AT_MOST = 2, 4  # more than two where a full batch waits: a lone one would only be smaller
WAITING = 4000
WAITING_OF_ONE = 200
FLOOD = Outcome(id="-", result="refused", reason="flood")
Turn = tuple[str, str, str]
Share = tuple[str, str]


@dataclass(eq=False)
class _Waiter:
    delivery: Delivery
    answer: asyncio.Future[Results]

    @property
    def turn(self) -> Turn:
        return (self.delivery.scope.clinic_id, self.delivery.session_id or "", self.delivery.readings[0].device)


def _shares(delivery: Delivery) -> Counter[Share]:
    """How many readings are of whose share of the flood limit."""
    counted = Counter([_share(delivery, reading) for reading in delivery.readings])
    return Counter({(delivery.scope.clinic_id, share): count for share, count in counted.items()})


def _share(delivery: Delivery, reading: schemas.Reading) -> str:
    """A device has one; hands have one for each session, whichever way it is named."""
    if reading.device != MANUAL:
        return reading.device
    return f"{MANUAL}:{delivery.session_id or getattr(reading, 'session_id', None)}"


def parts(readings: Sequence[schemas.Reading]) -> Iterator[Sequence[int]]:
    """The places of at most 200 readings at a time, by the time of measurement; the pressures of one moment stay together."""
    ordered = sorted(range(len(readings)), key=lambda place: _moment(readings[place]))
    start = 0
    while start < len(ordered):
        end = whole = start + BATCH_READINGS
        while start < end < len(ordered) and _moment(readings[ordered[end - 1]]) == _moment(readings[ordered[end]]):
            end -= 1
        end = end if end > start else whole
        yield ordered[start:end]
        start = end


def _moment(reading: schemas.Reading) -> tuple[datetime, str]:
    return (reading.taken_at, reading.device)


class Ingest:
    """One per process. When the store fails every waiter is told 503, and the readings are judged in memory alone."""

    def __init__(self, mongo: Mongo, deps: Deps, memory: Memory) -> None:
        self._mongo, self._deps, self._memory = mongo, deps, memory
        self._recent, self._flood = Recent(), Flood(mongo.clock.monotonic)
        self._waiting: OrderedDict[Turn, deque[_Waiter]] = OrderedDict()
        self._count = self._readings = 0
        self._closed = False  # what waits is the next batch, as soon as there is room for one
        self._running: set[asyncio.Task[None]] = set()

    async def deliver(self, delivery: Delivery) -> Results:
        """Returns when the readings and every alarm that they caused are committed. Raises NotFound, Unavailable."""
        if not delivery.readings:
            return []
        if delivery.arrived_at is None:
            delivery = replace(delivery, arrived_at=self._mongo.clock.clinical_now())
        dropped = self._dropped(delivery)
        if not dropped:
            return await self._paid(delivery)
        kept = [reading for place, reading in enumerate(delivery.readings) if place not in dropped]
        if not kept and self._memory.store_gone:
            raise Unavailable  # "refused" would have the device forget them, and nothing is known of what was stored
        taken = iter(await self._paid(replace(delivery, readings=kept)))
        return [FLOOD if place in dropped else next(taken) for place in range(len(delivery.readings))]

    async def _paid(self, delivery: Delivery) -> Results:
        """What has to be sent again is let through again."""
        try:
            return await self.deliver_all(delivery)
        except Unavailable:
            for key, count in _shares(delivery).items():
                self._flood.give_back(key, count)
            raise

    async def deliver_all(self, delivery: Delivery) -> Results:
        """What the flood limit let through; in parts, one after the other, for a transaction is bounded and time has an order."""
        if 0 < len(delivery.readings) <= BATCH_READINGS:
            return await self._wait(delivery)
        results = list[Outcome | None]([None] * len(delivery.readings))
        for places in parts(delivery.readings):
            part = replace(delivery, readings=[delivery.readings[place] for place in places])
            for place, result in zip(places, await self._wait(part), strict=True):
                results[place] = result
        return [result for result in results if result is not None]

    def _dropped(self, delivery: Delivery) -> set[int]:
        """The places of the readings that are too many; of each device for itself."""
        found = set[int]()
        for key, count in _shares(delivery).items():
            if not self._flood.take(key, count):
                found |= self._too_many(delivery, key)
        return found

    def _too_many(self, delivery: Delivery, key: Share) -> set[int]:
        places = [place for place, reading in enumerate(delivery.readings) if _share(delivery, reading) == key[1]]
        readings = [delivery.readings[place] for place in places]
        abnormal = [self._abnormal(delivery, reading) for reading in readings]
        return {places[number] for number in self._flood.dropped(key, readings, abnormal)}

    def _abnormal(self, delivery: Delivery, reading: schemas.Reading) -> bool:
        """By the limits of the session as this process knows it; by all limits where it does not.

        Where the request names no session both count: the device may have another one since a moment ago.
        """
        mine, asked = self._memory.session_of(delivery, reading), (reading.sign, reading.value, reading.unit)
        if self._deps.abnormal(mine, *asked):
            return True
        return mine is not None and delivery.session_id is None and self._deps.abnormal(None, *asked)

    def _wait(self, delivery: Delivery) -> asyncio.Future[Results]:
        """Raises Unavailable when too many wait already; a device that is slow to be served does not fill the room of others."""
        waiter = _Waiter(delivery, asyncio.get_running_loop().create_future())
        queue = self._waiting.get(waiter.turn, ())
        if self._count >= WAITING or len(queue) >= WAITING_OF_ONE:
            waiter.answer.set_exception(Unavailable("Too many readings are waiting; send them again."))
            return waiter.answer
        first = not self._waiting
        self._waiting.setdefault(waiter.turn, deque()).append(waiter)
        self._count += 1
        self._readings += len(delivery.readings)
        if self._readings >= ENOUGH or any(self._abnormal(delivery, reading) for reading in delivery.readings):
            self._close()
        elif first:
            asyncio.get_running_loop().call_later(BATCH_SECONDS, self._close)
        return waiter.answer

    def _close(self) -> None:
        """By its timer too when the batch has left early: then the next one is closed a little sooner."""
        self._closed = bool(self._waiting)
        self._start()

    def _start(self) -> None:
        while self._waiting and self._closed and len(self._running) < self._room():
            task = asyncio.create_task(self._commit(self._next()))
            self._running.add(task)
            task.add_done_callback(self._ended)
            self._closed = bool(self._waiting)

    def _room(self) -> int:
        return AT_MOST if self._readings >= BATCH_READINGS else AT_ONCE

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _next(self) -> list[_Waiter]:
        """One delivery of each device in turn, until 200 readings are together."""
        batch, readings = list[_Waiter](), 0
        while self._waiting:
            turn, queue = next(iter(self._waiting.items()))
            if batch and readings + len(queue[0].delivery.readings) > BATCH_READINGS:
                break
            batch.append(queue.popleft())
            readings += len(batch[-1].delivery.readings)
            self._count -= 1
            self._readings -= len(batch[-1].delivery.readings)
            if queue:
                self._waiting.move_to_end(turn)
            else:
                del self._waiting[turn]
        return batch

    async def _commit(self, batch: list[_Waiter]) -> None:
        deliveries = [waiter.delivery for waiter in batch]
        try:
            answers, learnt = await self._run(deliveries)
        except StillwaterError as error:
            self._memory.judge(deliveries)
            answers = [error for _ in batch]
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever and nothing is assumed
            log.error("ingest.failed", extra={"error": type(error).__name__})
            if len(batch) > 1:
                for waiter in batch:  # one session's fault takes nothing from the others
                    await self._commit([waiter])
                return
            answers = [Unavailable()]
        else:
            self._recent.learn(learnt)
            self._memory.evaluated(learnt.sessions)
        for waiter, answer in zip(batch, answers, strict=True):
            if waiter.answer.done():
                continue
            if isinstance(answer, StillwaterError):
                waiter.answer.set_exception(answer)
            else:
                waiter.answer.set_result(answer)

    async def _run(self, deliveries: Sequence[Delivery]) -> tuple[Answers, Recent]:
        async def work(unit: UnitOfWork) -> tuple[Answers, Recent]:
            return await take(unit, self._deps, deliveries, self._recent, repeated=unit.repeated)

        return await self._mongo.run(deliveries[0].scope, work)
