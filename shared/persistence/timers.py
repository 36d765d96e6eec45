"""Time as rows: a timer survives restarts, and its effect and its deletion share one transaction (architecture 3.3)."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shared.errors import StillwaterError
from shared.ids import derived_id
from shared.persistence.mongo import Document, DuplicateKey, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import TIMERS_FIRED

log = logging.getLogger(__name__)

ClockName = Literal["clinical", "system"]
POLL_SECONDS = 0.25
BATCH = 100


@dataclass(frozen=True)
class TimerContext:
    """The unit in which the timer is deleted, the timer's payload and what the service's wiring made."""

    unit: UnitOfWork
    payload: Document
    due_at: datetime
    late: bool
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
    """Set or replace the timer `key` of this clinic. After `latest_at` it is skipped with a line in the log."""
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
    await unit.collection("timers").delete({"_id": derived_id(unit.scope.clinic_id, key)})


class TimerRunner:
    """Fires what is due, the most urgent first. Several may run: the deletion decides who did it."""

    def __init__(self, mongo: Mongo, handlers: Mapping[str, TimerHandler], deps: Any, service: str) -> None:
        self._mongo, self._handlers, self._deps, self._service = mongo, handlers, deps, service
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                fired = await self.fire_due()
            except StillwaterError as error:
                log.warning("timers.failed", extra={"code": error.code})
                fired = 0
            except Exception as error:  # noqa: BLE001 - the store's driver, or one bad timer: the next round tries again
                log.error("timers.failed", extra={"error": type(error).__name__})
                fired = 0
            if not fired:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL_SECONDS)

    async def fire_due(self) -> int:
        """Fire every timer that is due now; returns how many."""
        clock = self._mongo.clock
        rows: list[Document] = []
        for name, now in (("clinical", clock.clinical_now()), ("system", clock.system_now())):
            rows += await self._mongo.plumbing("timers").find(
                {"clock": name, "due_at": {"$lte": now}, "kind": {"$in": list(self._handlers)}},
                sort=[("priority", 1), ("due_at", 1)],
                limit=BATCH,
            )
        for row in sorted(rows, key=lambda row: (row["priority"], row["due_at"])):
            await self._fire(row)
        return len(rows)

    async def _fire(self, row: Document) -> None:
        scope = system_scope(row["clinic_id"], f"{self._service}.timers").traced(row["traceparent"])
        late = row["latest_at"] is not None and self._mongo.clock.clinical_now() > row["latest_at"]

        async def work(unit: UnitOfWork) -> None:
            same = {"_id": row["_id"], "due_at": row["due_at"]}
            if not await unit.collection("timers").delete(same):
                return
            context = TimerContext(unit, row["payload"], row["due_at"], late, self._deps)
            if late:
                log.warning("timer.skipped", extra={"kind": row["kind"], "code": "too_late"})
            else:
                await self._handlers[row["kind"]](context)

        with contextlib.suppress(DuplicateKey):
            await self._mongo.run(scope, work)
        TIMERS_FIRED.labels(row["kind"]).inc()
