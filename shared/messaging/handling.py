"""Records -> handlers -> one transaction with their inbox marks. Used by the consumer and by `redrive` alike."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import Unavailable
from shared.events.envelope import BadRecord, Envelope, Event, read_record
from shared.events.registry import REGISTRY
from shared.messaging.deadletters import keep
from shared.messaging.outcomes import Outcome, Reject, Retry, Skip
from shared.messaging.record import Record
from shared.messaging.topics import topic_for
from shared.persistence.erased import erased_among
from shared.persistence.mongo import Mongo, StoreFault, UnitOfWork
from shared.persistence.scope import Scope, system_scope
from shared.telemetry.metrics import EVENTS_HANDLED
from shared.telemetry.tracing import current_traceparent, process_span

log = logging.getLogger(__name__)

BATCH_RECORDS = 20
HANDLER_FAILED = "handler_failed"


@dataclass(frozen=True)
class EventContext:
    """What a handler gets beside the event; `deps` is what the service's wiring made."""

    unit: UnitOfWork
    envelope: Envelope
    deps: Any
    received_at: datetime


Handler = Callable[[EventContext, Any], Awaitable[Outcome]]
Handlers = Mapping[type[Event], Handler]
WithoutStore = Callable[[Envelope, Event], Awaitable[None]]


@dataclass(frozen=True)
class _Work:
    """A readable record that has a handler."""

    record: Record
    envelope: Envelope
    event: Event | None
    handler: Handler


class Pipeline:
    """Decodes, dedupes, calls, and turns a refusal into a dead letter. Never raises: trouble is the outcome `Retry`."""

    def __init__(
        self,
        mongo: Mongo,
        service: str,
        group: str,
        handlers: Handlers,
        deps: Any,
        without_store: WithoutStore | None = None,
    ) -> None:
        self.mongo, self._service, self.group, self._handlers, self._deps = mongo, service, group, handlers, deps
        self._without_store = without_store
        self._repeating = True  # after a start, and as long as repetitions come, marks are looked for first

    async def handle(self, record: Record) -> Outcome | None:
        """The outcome, committed; None for a known type that this service does not handle."""
        outcome = await self._settle(record, self._decode(record))
        self._count(outcome)
        return outcome

    async def rehearse(self, record: Record) -> Outcome | None:
        """What the outcome would be; nothing is kept. Raises StillwaterError where the store is in trouble."""
        item = self._decode(record)
        if not isinstance(item, _Work):
            return item

        async def work(unit: UnitOfWork) -> None:
            raise _NotDone(await self._one(unit, item))

        try:
            await self.mongo.run(self._scope(item.envelope), work)
        except _NotDone as rehearsed:
            return rehearsed.outcome
        raise AssertionError("a rehearsal always rolls back")

    async def handle_batch(self, records: Sequence[Record]) -> list[Outcome | None]:
        """The outcomes of the records in their order, up to the first that is `Retry`: those behind it have not run.

        All effects share one transaction; when one of them fails, each gets one of its own.
        """
        decoded = [self._decode(record) for record in records]
        together = await self._together([item for item in decoded if isinstance(item, _Work)])
        outcomes: list[Outcome | None] = []
        for record, item in zip(records, decoded, strict=True):
            if together is not None and isinstance(item, _Work):
                outcome: Outcome | None = together[record.offset]
            else:
                outcome = await self._settle(record, item)
            self._count(outcome)
            outcomes.append(outcome)
            if isinstance(outcome, Retry):
                await self._do_without([item for item in decoded[len(outcomes) - 1 :] if isinstance(item, _Work)])
                break
        return outcomes

    async def _do_without(self, items: Sequence[_Work]) -> None:
        """What must happen though nothing can be written: the offset stays, the records come again."""
        for item in items if self._without_store else ():
            if item.event is not None and self._without_store is not None:
                try:
                    await self._without_store(item.envelope, item.event)
                except Exception as error:  # noqa: BLE001 - the next retry tries again
                    log.error("without_store.failed", extra={"error": type(error).__name__, "group": self.group})

    async def _together(self, items: list[_Work]) -> dict[int, Outcome] | None:
        """Outcomes by offset; None when the records must be tried one by one.

        Repetitions are rare, so marks are looked for only while they come: else the mark's own key refuses the second
        one. What fails or is refused here may be such a repetition; one by one it is always looked for.
        """
        if not items:
            return None
        try:
            outcomes = await self._effects(items, look=self._repeating)
        except Unavailable as error:
            outcomes = [Retry(error.code) for _ in items]
        except Exception as error:  # noqa: BLE001 - the replay one by one finds the record that is to blame
            log.info("batch.split", extra={"error": type(error).__name__, "group": self.group})
            return None
        return {item.record.offset: outcome for item, outcome in zip(items, outcomes, strict=True)}

    def _decode(self, record: Record) -> _Work | Reject | None:
        try:
            envelope, value = read_record(record.headers, record.value)
            event_class = REGISTRY.get(envelope.type)
            if event_class is None:
                return Reject("type_unknown")
            handler = self._handlers.get(event_class)
            if handler is None:
                return None
            if value is None and not topic_for(event_class).compacted:
                return Reject("data_missing")
            return _Work(record, envelope, None if value is None else event_class.read(value), handler)
        except BadRecord as error:
            return Reject(error.code)
        except Exception as error:  # noqa: BLE001 - bytes that break the decoder are bad bytes, and stop nobody behind them
            log.error("event.undecodable", extra={"error": type(error).__name__, "group": self.group})
            return Reject("undecodable")

    async def give_up(self, record: Record) -> Outcome:
        """A fault that did not pass: a dead letter with its bytes; on the alarm lane that is a page."""
        outcome = await self._settle(record, Reject(HANDLER_FAILED))
        self._count(outcome)
        return outcome or Reject(HANDLER_FAILED)

    async def _settle(self, record: Record, item: _Work | Reject | None) -> Outcome | None:
        try:
            if isinstance(item, _Work):
                outcome: Outcome | None = await self._alone(item)
            else:
                outcome = item
            if isinstance(outcome, Reject):
                await keep(self.mongo, self.group, record, outcome.code)
        except Unavailable as error:
            outcome = Retry(error.code)
        except Exception as error:  # noqa: BLE001 - an unknown fault is tried again, then kept, never lost
            log.error("event.failed", extra={"error": type(error).__name__, "group": self.group})
            outcome = Retry("unexpected", fault=not isinstance(error, StoreFault))
        return outcome

    async def _alone(self, item: _Work) -> Outcome:
        try:
            return (await self._effects([item], look=True))[0]
        except _NotDone as refused:
            return refused.outcome

    async def _effects(self, items: Sequence[_Work], *, look: bool) -> list[Outcome]:
        """One transaction: what is known is dropped, the rest is handled in order and marked. Raises _NotDone.

        Its second attempt always looks for marks: a mark may be what refused the first one.
        """

        async def work(unit: UnitOfWork) -> list[Outcome]:
            known = await self._known(unit, items) if look or unit.repeated else set()
            self._repeating = bool(known)
            return await self._in_order(unit, items, known)

        return await self.mongo.run(self._scope(items[0].envelope), work)

    async def _in_order(self, unit: UnitOfWork, items: Sequence[_Work], known: set[str]) -> list[Outcome]:
        erased = await self._erased(unit, items)
        outcomes: list[Outcome] = []
        for item in items:
            mark = self._mark(item.envelope)
            if mark in known:
                outcomes.append(Skip("duplicate"))
                continue
            outcomes.append(Skip("erased") if _about(item) in erased else await self._call(unit, item))
            unit.stage("inbox", {"_id": mark, "at": unit.clock.system_now()})
            known.add(mark)
        return outcomes

    async def _known(self, unit: UnitOfWork, items: Sequence[_Work]) -> set[str]:
        marks = [self._mark(item.envelope) for item in items]
        return {row["_id"] for row in await unit.plumbing("inbox").find({"_id": {"$in": marks}})}

    async def _erased(self, unit: UnitOfWork, items: Sequence[_Work]) -> set[tuple[str, str]]:
        """Nobody is erased on the alarm lane: a page is about a person in a chair."""
        if any(item.event is not None and item.event.LANE == "alarm" for item in items):
            return set()
        return await erased_among(unit, [name for item in items if (name := _about(item)) is not None])

    async def _one(self, unit: UnitOfWork, item: _Work) -> Outcome:
        if await unit.plumbing("inbox").find_one({"_id": self._mark(item.envelope)}):
            return Skip("duplicate")
        return await self._call(unit, item)

    async def _call(self, unit: UnitOfWork, item: _Work) -> Outcome:
        with process_span(item.record.topic, self.group, item.record.headers):
            scope = self._scope(item.envelope).traced(current_traceparent())
            context = EventContext(unit.under(scope), item.envelope, self._deps, unit.clock.clinical_now())
            outcome = await item.handler(context, item.event)
        if isinstance(outcome, Reject | Retry):
            raise _NotDone(outcome)
        return outcome

    def _scope(self, envelope: Envelope) -> Scope:
        scope = system_scope(envelope.clinic_id, f"{self._service}.consumer")
        return scope.caused_by(envelope.id, envelope.correlation_id)

    def _mark(self, envelope: Envelope) -> str:
        return f"{envelope.clinic_id}|{self.group}|{envelope.source}|{envelope.id}"

    def _count(self, outcome: Outcome | None) -> None:
        name = type(outcome).__name__.lower() if outcome else "passed"
        EVENTS_HANDLED.labels(self.group, name).inc()
        if isinstance(outcome, Reject):
            log.error("event.rejected", extra={"code": outcome.code, "group": self.group})


def _about(item: _Work) -> tuple[str, str] | None:
    """Clinic and patient of an event; the erasure itself is always handled."""
    if item.event is None or item.event.patient_id is None or type(item.event).__name__ == "PatientErased":
        return None
    return item.envelope.clinic_id, item.event.patient_id


class _NotDone(Exception):
    """Rolls the transaction back; a refused event leaves nothing but its dead letter."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome
