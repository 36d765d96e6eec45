"""What needs an operator: looked for every two seconds, told once as ServiceTroubleRaised, and once when it is over."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from pymongo.errors import PyMongoError

from shared.errors import StillwaterError
from shared.events.common import ServiceTroubleCleared, ServiceTroubleRaised
from shared.events.registry import event_of
from shared.messaging.deadletters import DEAD_LETTERS, UNKNOWN_TYPE
from shared.messaging.outbox import OUTBOX, PENDING, emit
from shared.persistence.mongo import DuplicateKey, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.timers import FAILING_ATTEMPTS
from shared.telemetry.metrics import (
    CONSUMERS_STOPPED,
    DEAD_LETTERS_OPEN,
    OUTBOX_AGE,
    OUTBOX_DEAD_ROWS,
    OUTBOX_PENDING,
    PARTITION_WAITING,
    TIMERS_FAILING,
)

log = logging.getLogger(__name__)

TROUBLE = "trouble"
LOOK_SECONDS = 2.0
OLD_SECONDS = 60
FORGOTTEN = timedelta(seconds=30)
_SCOPE = system_scope("-", "trouble")


class _Watched(Protocol):
    """A consumer, as far as this file looks at it."""

    blown: bool

    def waiting_seconds(self) -> float: ...


class TroubleWatch:
    """Rows say what is known already, so that several processes tell it once."""

    def __init__(self, mongo: Mongo, service: str, consumers: Sequence[_Watched]) -> None:
        self._mongo, self._service, self._consumers = mongo, service, consumers
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                await self.look()
            except (StillwaterError, PyMongoError) as error:
                log.warning("trouble.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def look(self) -> None:
        """Compare what is found with what was told."""
        found = {code: count for code, count in (await self._found()).items() if count}
        for code, count in found.items():
            with contextlib.suppress(DuplicateKey):
                await self._mongo.run(_SCOPE, lambda unit, code=code, count=count: self._raise(unit, code, count))  # type: ignore[misc]
        known = await self._mongo.plumbing(TROUBLE).find({"open": True})
        for code in {row["_id"] for row in known} - set(found):
            await self._mongo.run(_SCOPE, lambda unit, code=code: self._clear(unit, code))  # type: ignore[misc]

    async def _found(self) -> Mapping[str, int]:
        outbox, letters = self._mongo.plumbing(OUTBOX), self._mongo.plumbing(DEAD_LETTERS)
        oldest = await outbox.find(PENDING, limit=1)
        age = (self._mongo.clock.system_now() - oldest[0]["created_at"]).total_seconds() if oldest else 0.0
        dead = await letters.count({"state": "open", "code": {"$ne": UNKNOWN_TYPE}})
        refused = await outbox.count({"state": "dead"})
        failing = await self._mongo.plumbing("timers").count({"attempts": {"$gte": FAILING_ATTEMPTS}})
        stopped = sum(consumer.blown for consumer in self._consumers)
        waiting = [consumer.waiting_seconds() for consumer in self._consumers]
        OUTBOX_AGE.set(age)
        OUTBOX_PENDING.set(await outbox.count(PENDING) if oldest else 0)
        OUTBOX_DEAD_ROWS.set(refused)
        DEAD_LETTERS_OPEN.set(dead)
        TIMERS_FAILING.set(failing)
        CONSUMERS_STOPPED.set(stopped)
        PARTITION_WAITING.set(max(waiting, default=0.0))
        return {
            "dead_letters": dead,
            "outbox_dead": refused,
            "outbox_old": int(age > OLD_SECONDS),
            "timers_failing": failing,
            "consumer_stopped": stopped,
            "partition_waiting": sum(seconds > OLD_SECONDS for seconds in waiting),
        }

    async def _raise(self, unit: UnitOfWork, code: str, count: int) -> None:
        rows, now = unit.plumbing(TROUBLE), unit.clock.system_now()
        known = await rows.find_one({"_id": code})
        version = known["version"] if known else 0
        if known and known["open"]:
            if now - known["seen_at"] > FORGOTTEN / 3:
                await rows.put({**known, "seen_at": now, "count": count})
            return
        row = {"_id": code, "open": True, "since": now, "seen_at": now, "count": count, "version": version + 1}
        await rows.put(row)
        event = event_of(self._service, ServiceTroubleRaised)(code=code, count=count, since=now)
        emit(unit, event, aggregate=f"trouble/{code}", version=version + 1)

    async def _clear(self, unit: UnitOfWork, code: str) -> None:
        """After 30 s without anybody seeing it: another replica's consumer may be the one in trouble."""
        rows, now = unit.plumbing(TROUBLE), unit.clock.system_now()
        known = await rows.get(code)
        if not known["open"] or now - known["seen_at"] < FORGOTTEN:
            return
        await rows.put({**known, "open": False, "version": known["version"] + 1})
        event = event_of(self._service, ServiceTroubleCleared)(code=code, since=known["since"])
        emit(unit, event, aggregate=f"trouble/{code}", version=known["version"] + 1)
