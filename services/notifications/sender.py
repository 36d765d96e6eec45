"""Calls the providers. The attempt with its id is committed before the call; after a crash the same id is sent again.

Pages have a sender, a pool and a connection pool of their own: nothing queues before them. A page that this process has
just committed is sent from memory, without another look at the store.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from services.notifications.messages import next_attempt, pick_route, text_of
from services.notifications.providers import Provider, Refused, Unreached
from services.notifications.store import MESSAGES, due_messages, is_due
from services.notifications.usecases.deps import Deps, Outbound
from services.notifications.usecases.messaging import CLAIM, fail, new_attempt
from shared.errors import StillwaterError
from shared.events.notifications import NotificationDelivered
from shared.messaging.outbox import emit
from shared.messaging.precedence import Precedence
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import Scope, system_scope
from shared.persistence.vault import Erased
from shared.telemetry.metrics import PAGES_SENT
from shared.telemetry.tracing import call_span, current_traceparent

log = logging.getLogger(__name__)

DELIVERED = "delivered"
CALL_SECONDS = 8.0
PAGED = ("pager", "sms")  # of a page whose pager cannot be reached


class Sender:
    """One lane. `providers` by channel in their order; `urgent` pages sweep four times a second, mail once."""

    def __init__(
        self,
        mongo: Mongo,
        deps: Deps,
        providers: Mapping[str, Sequence[Provider]],
        precedence: Precedence | None = None,
        *,
        urgent: bool,
        parallel: int,
    ) -> None:
        self._mongo, self._deps, self._providers, self._urgent = mongo, deps, providers, urgent
        self._precedence = precedence or Precedence()
        self._outbound: Outbound = deps.pages if urgent else deps.mails
        self._sweep_s = 0.25 if urgent else 1.0
        self._parallel = parallel
        self._more = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then what is being sent is finished."""
        self._outbound.take = self._send_prepared
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            self._outbound.signal.clear()
            self._send_prepared()
            try:
                await self._sweep()
            except (StillwaterError, PyMongoError) as error:
                log.warning(
                    "sender.failed", extra={"error": type(error).__name__, "lane": "pages" if self._urgent else "mail"}
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outbound.signal.wait(), self._sweep_s)
        self._outbound.take = lambda: None
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def send_due(self) -> None:
        """Everything that is due now, to its result. For tests and for the end of a drain."""
        self._send_prepared()
        await self._sweep()
        await asyncio.gather(*self._running.values())

    def _send_prepared(self) -> None:
        """Never bounded by the pool: a page that waits in memory for a slow provider would be a queue before a page.

        Alarm work is in hand from its commit on: what its own bulk rows set going waits until it has left.
        """
        while self._outbound.ready:
            prepared = self._outbound.ready.popleft()
            self._precedence.begin()
            task = self._spawn(prepared.row["_id"], self._deliver(prepared.row, prepared.payload))
            task.add_done_callback(lambda _: self._precedence.end())

    async def _sweep(self) -> None:
        room = self._parallel - len(self._running)
        if room <= 0:
            return
        rows = await due_messages(self._mongo, self._urgent, self._mongo.clock.system_now(), room)
        self._more = len(rows) == room
        for row in rows:
            if row["_id"] not in self._running:
                self._spawn(row["_id"], self._claim_and_deliver(row))

    def _spawn(self, message_id: str, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work))
        self._running[message_id] = task
        task.add_done_callback(lambda _: self._done(message_id))
        return task

    def _done(self, message_id: str) -> None:
        """In a backlog the next sweep does not wait for its second: it comes when half of the pool is free."""
        self._running.pop(message_id, None)
        if self._more and 2 * len(self._running) <= self._parallel:
            self._more = False
            self._outbound.wake()

    async def _guard(self, work: Any) -> None:
        """A fault here leaves the claim to expire; the sweep then sends the same id again."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - one message must not stop the lane
            log.error("sender.message", extra={"error": type(error).__name__})
            self._more = False  # what fails at once waits for the sweep's second

    def _scope(self, row: Document) -> Scope:
        return system_scope(row["clinic_id"], "notifications.sender")

    async def _claim_and_deliver(self, row: Document) -> None:
        async def claim(unit: UnitOfWork) -> Document | None:
            return await self._claim(unit, row["_id"])

        with contextlib.suppress(StillwaterError):
            claimed = await self._mongo.run(self._scope(row), claim)
            if claimed is None:
                return
            try:
                payload = await self._deps.vault.decrypt(
                    self._mongo.reader(self._scope(row)), claimed["subject_id"], claimed["sealed"]
                )
            except Erased:
                await self._finish(claimed, Refused("erased"))
                return
            await self._deliver(claimed, payload)

    async def _claim(self, unit: UnitOfWork, message_id: str) -> Document | None:
        """The attempt is in the row before the call; of two senders that want one message the store refuses one."""
        row, now = await unit.collection(MESSAGES).get(message_id), unit.clock.system_now()
        if not is_due(row, now):
            return None
        row |= {
            "claimed_by": self._deps.holder,
            "claimed_until": now + CLAIM,
            "next_at": now,
            "version": row["version"] + 1,
            "updated_at": now,
        }
        last = row["attempts"][-1] if row["attempts"] else None
        if last and last["result"] is None:
            last["sends"] += 1
        else:
            route = self._next_route(row)
            row["attempts"].append(new_attempt(row, route or "none"))
        await unit.collection(MESSAGES).replace_versioned(row)
        return row

    def _next_route(self, row: Document) -> str | None:
        """`channel.n`: the n-th provider of a channel that this message has an address for."""
        routes = [f"{channel}.{no}" for channel in _channels(row) for no in range(len(self._providers[channel]))]
        here = [attempt for attempt in row["attempts"] if attempt["round"] == row["round"]]
        refused = [attempt["route"] for attempt in here if str(attempt["result"]).startswith("refused:")]
        return pick_route(routes, refused, len(here))

    async def _deliver(self, row: Document, payload: Document) -> None:
        attempt = row["attempts"][-1]
        channel, _, number = attempt["route"].partition(".")
        to = next((address for name, address in payload["routes"] if name == channel), None)
        fault: Refused | Unreached | None = None
        with call_span(f"deliver {row['channel']}", row["traceparent"], channel):
            try:
                if to is None:
                    raise Refused("no_address")
                async with asyncio.timeout(CALL_SECONDS):
                    await self._providers[channel][int(number)].send(
                        attempt["key"], to, self._dated(row, payload, channel)
                    )
            except (Refused, Unreached) as error:
                fault = error
            except TimeoutError:
                fault = Unreached("timeout")
            PAGES_SENT.labels(row["channel"], "failed" if fault else DELIVERED).inc()
            await self._finish(row, fault)

    def _dated(self, row: Document, payload: Document, channel: str) -> Document:
        """A page says how old it is when it leaves, not when it was written."""
        if "alarm" not in payload:
            return payload
        raised_at: datetime = row["facts"]["raised_at"]
        now, old_s = self._mongo.clock.clinical_now(), self._deps.policy.old_after_s
        return {**payload, "text": text_of(channel, payload["alarm"], raised_at, now, old_s)}

    async def _finish(self, row: Document, fault: Refused | Unreached | None) -> None:
        scope = self._scope(row).traced(current_traceparent())

        async def record(unit: UnitOfWork) -> None:
            await self._record(unit, row, fault)

        await self._mongo.run(scope, record)

    async def _record(self, unit: UnitOfWork, sent: Document, fault: Refused | Unreached | None) -> None:
        row, now = await unit.collection(MESSAGES).get(sent["_id"]), unit.clock.system_now()
        number = sent["attempts"][-1]["no"]
        attempt = next(item for item in row["attempts"] if item["no"] == number)
        attempt |= {"result": _result(fault), "finished_at": now}
        row |= {"version": row["version"] + 1, "updated_at": now, "claimed_until": now}
        if fault is None:
            row |= {"state": DELIVERED, "code": None, "channel": attempt["route"].partition(".")[0]}
            event = NotificationDelivered(
                notification_id=row["_id"],
                template=row["template"],
                channel=row["channel"],
                attempts=len(row["attempts"]),
            )
            emit(unit, event, aggregate=f"message/{row['_id']}", version=row["version"])
        elif row["state"] == "pending":
            row = await self._again(unit, row, fault, now)
        await unit.collection(MESSAGES).replace_versioned(row)

    async def _again(self, unit: UnitOfWork, row: Document, fault: Refused | Unreached, now: datetime) -> Document:
        if fault.code == "erased":
            return row | {"state": "cancelled", "code": "erased"}
        if self._next_route(row) is None or now >= row["give_up_at"]:
            return await fail(unit, row, fault.code)
        failures = sum(attempt["round"] == row["round"] for attempt in row["attempts"])
        routes = sum(len(self._providers[name]) for name in _channels(row))
        pause: timedelta = next_attempt(row["urgent"], failures, routes)
        unit.after_commit(self._outbound.wake)
        return row | {"next_at": now + pause}


def _channels(row: Document) -> tuple[str, ...]:
    return PAGED if row["channel"] in PAGED and row["urgent"] else (row["channel"],)


def _result(fault: Refused | Unreached | None) -> str:
    if fault is None:
        return DELIVERED
    return f"{'refused' if isinstance(fault, Refused) else 'unreached'}:{fault.code}"
