"""Time as rows: a timer survives restarts, and its effect and its deletion share one transaction (architecture 3.3)."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.errors import StillwaterError, Unavailable
from shared.ids import derived_id
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import TIMERS_FIRED

log = logging.getLogger(__name__)

ClockName = Literal["clinical", "system"]
POLL_SECONDS = 0.25
PRIORITIES = range(10)
LOOK_AGAIN = 10  # rows between two looks: an escalation that falls due does not wait behind a backlog of reminders
FAILING_ATTEMPTS = 3
_BACKOFF_SECONDS, _BACKOFF_MAX_SECONDS = 0.5, 60.0


@dataclass(frozen=True)
class TimerContext:
    """The unit in which the timer is deleted, the timer's payload and what the service's wiring made."""

    unit: UnitOfWork
    payload: Document
    due_at: datetime
    deps: Any


TimerHandler = Callable[[TimerContext], Awaitable[None]]


async def set_timer(
    unit: UnitOfWork,
    kind: str,
    key: str,
    due_at: datetime,
    payload: Document,
    *,
    clock: ClockName = "clinical",
    latest_at: datetime | None = None,
    priority: int = 5,
) -> None:
    """Set or replace the timer `key` of this clinic; 0 is the most urgent `priority`, 9 the least.

    After `latest_at` it is skipped, with a line in the log; without one it fires however late it is (docs/adr/0016).
    """
    row = {
        "_id": derived_id(unit.scope.clinic_id, key),
        "key": key,
        "kind": kind,
        "clock": clock,
        "due_at": due_at,
        "latest_at": latest_at,
        "priority": priority,
        "payload": payload,
        "correlation_id": unit.scope.correlation_id,
        "traceparent": unit.scope.traceparent,
    }
    await unit.collection("timers").put(row)


async def cancel_timer(unit: UnitOfWork, key: str) -> None:
    """Belongs to the transaction that makes the timer moot."""
    await unit.collection("timers").discard({"_id": derived_id(unit.scope.clinic_id, key)})


class TimerRunner:
    """Fires what is due, the most urgent first. Several may run: the deletion decides who did it.

    A timer whose handler fails is pushed back and tried again, ever more rarely; it holds up no other. From the third
    failure on it is a trouble of the service (`shared/messaging/trouble.py`).
    """

    def __init__(self, mongo: Mongo, handlers: Mapping[str, TimerHandler], deps: Any, service: str) -> None:
        self._mongo, self._handlers, self._deps, self._service = mongo, handlers, deps, service
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.fire_due(stop)
            except StillwaterError as error:
                log.warning("timers.failed", extra={"code": error.code})
            except Exception as error:  # noqa: BLE001 - the store's driver: the next round tries again
                log.error("timers.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)

    async def fire_due(self, stop: asyncio.Event | None = None) -> int:
        """Fire every timer that is due now; returns how many took effect. Raises what the store raised."""
        fired = 0
        while rows := await self._due():
            for row in rows:
                fired += await self._fire(row)
            if stop is not None and stop.is_set():
                break
        return fired

    async def _due(self) -> list[Document]:
        """The next few, by priority and then by time."""
        self.last_attempt = self._mongo.clock.monotonic()
        query = due_query(self._now("clinical"), self._now("system"), list(self._handlers))
        return await self._mongo.plumbing("timers").find(query, sort=DUE_ORDER, limit=LOOK_AGAIN)

    def _now(self, clock: ClockName) -> datetime:
        return self._mongo.clock.clinical_now() if clock == "clinical" else self._mongo.clock.system_now()

    async def _fire(self, row: Document) -> bool:
        """Whether it took effect now; False when somebody else was first, when it was skipped and when it failed."""

        async def work(unit: UnitOfWork) -> str | None:
            return await self._effect(unit, row)

        scope = system_scope(row["clinic_id"], f"{self._service}.timers").traced(row["traceparent"])
        try:
            took = await self._mongo.run(scope, work)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the timers behind it do not wait for it
            log.error("timer.failed", extra={"kind": row["kind"], "error": type(error).__name__})
            await self._push_back(row)
            TIMERS_FIRED.labels(row["kind"], "failed").inc()
            return False
        if took is not None:
            TIMERS_FIRED.labels(row["kind"], took).inc()
        return took == "fired"

    async def _effect(self, unit: UnitOfWork, row: Document) -> str | None:
        """The row is read again: it may have been replaced under the same time by another payload."""
        timers, same = unit.collection("timers"), {"_id": row["_id"], "due_at": row["due_at"]}
        present = await timers.find_one(same)
        if present is None or not await timers.delete(same):
            return None
        if present["latest_at"] is not None and self._now(present["clock"]) > present["latest_at"]:
            log.warning("timer.skipped", extra={"kind": row["kind"], "code": "too_late"})
            return "skipped"
        await self._handlers[row["kind"]](TimerContext(unit, present["payload"], row["due_at"], self._deps))
        return "fired"

    async def _push_back(self, row: Document) -> None:
        attempts = row.get("attempts", 0) + 1
        pause = timedelta(seconds=min(_BACKOFF_SECONDS * 2**attempts, _BACKOFF_MAX_SECONDS))

        async def work(unit: UnitOfWork) -> None:
            change = {"$set": {"attempts": attempts, "retry_at": unit.clock.system_now() + pause}}
            await unit.plumbing("timers").update({"_id": row["_id"], "due_at": row["due_at"]}, change)

        await self._mongo.run(system_scope(row["clinic_id"], f"{self._service}.timers"), work)


DUE_ORDER = (("priority", 1), ("due_at", 1))


def due_query(clinical_now: datetime, system_now: datetime, kinds: Sequence[str]) -> Document:
    """The priorities are named, so that the index gives rows in order, of either clock, and none that lies in the future."""
    due = (("clinical", clinical_now), ("system", system_now))
    return {
        "$or": [{"clock": clock, "priority": {"$in": list(PRIORITIES)}, "due_at": {"$lte": now}} for clock, now in due],
        "retry_at": {"$not": {"$gt": system_now}},
        "kind": {"$in": list(kinds)},
    }
