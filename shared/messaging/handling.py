"""One record -> one handler -> one transaction with its inbox mark. Used by the consumer and by `redrive` alike."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.events.envelope import BadRecord, Envelope, Event, Header, read_record
from shared.events.registry import REGISTRY
from shared.messaging.outcomes import Outcome, Reject, Skip
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import EVENTS_HANDLED
from shared.telemetry.tracing import current_traceparent, process_span

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A record as it came: bytes only."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


@dataclass(frozen=True)
class EventContext:
    """What a handler gets beside the event; `deps` is what the service's wiring made."""

    unit: UnitOfWork
    envelope: Envelope
    deps: Any
    received_at: datetime


Handler = Callable[[EventContext, Any], Awaitable[Outcome]]
Handlers = Mapping[type[Event], Handler]


class Pipeline:
    """Decodes, dedupes, calls, and turns a refusal into a dead letter. Raises only what is worth trying again."""

    def __init__(self, mongo: Mongo, service: str, group: str, handlers: Handlers, deps: Any) -> None:
        self._mongo, self._service, self.group, self._handlers, self._deps = mongo, service, group, handlers, deps

    async def handle(self, record: Record) -> Outcome | None:
        """The outcome, committed; None for a known type that this service does not handle.

        Raises Unavailable and other StillwaterErrors of the store: nothing happened, try again.
        """
        with process_span(record.topic, self.group, record.headers):
            outcome = await self._decide(record)
        name = type(outcome).__name__.lower() if outcome else "passed"
        EVENTS_HANDLED.labels(self.group, name).inc()
        return outcome

    async def _decide(self, record: Record) -> Outcome | None:
        clinic_id = "-"
        try:
            envelope, value = read_record(record.headers, record.value)
            clinic_id = envelope.clinic_id
            event_class = REGISTRY.get(envelope.type)
            if event_class is None:
                raise BadRecord("type_unknown")
            handler = self._handlers.get(event_class)
            if handler is None:
                return None
            event = None if value is None else event_class.read(value)
        except BadRecord as error:
            return await self._refuse(record, clinic_id, Reject(error.code))
        outcome = await self._effect(envelope, event, handler)
        if isinstance(outcome, Reject):
            return await self._refuse(record, clinic_id, outcome)
        return outcome

    async def _effect(self, envelope: Envelope, event: Event | None, handler: Handler) -> Outcome:
        scope = system_scope(envelope.clinic_id, f"{self._service}.consumer")
        scope = scope.caused_by(envelope.id, envelope.correlation_id).traced(current_traceparent())
        mark = f"{envelope.clinic_id}|{self.group}|{envelope.source}|{envelope.id}"

        async def work(unit: UnitOfWork) -> Outcome:
            inbox = unit.plumbing("inbox")
            if await inbox.find_one({"_id": mark}):
                return Skip("duplicate")
            context = EventContext(unit, envelope, self._deps, unit.clock.clinical_now())
            outcome = await handler(context, event)
            if isinstance(outcome, Reject):
                raise _Refused(outcome)
            await inbox.insert({"_id": mark, "at": unit.clock.system_now()})
            return outcome

        try:
            return await self._mongo.run(scope, work)
        except _Refused as refused:
            return refused.outcome

    async def _refuse(self, record: Record, clinic_id: str, outcome: Reject) -> Reject:
        """Committed before the offset. The id is the record's place, so a second rejection changes nothing."""
        identifier = f"{self.group}|{record.topic}|{record.partition}|{record.offset}"

        async def keep(unit: UnitOfWork) -> None:
            row = {
                "clinic_id": clinic_id,
                "state": "open",
                "code": outcome.code,
                "group": self.group,
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "key": record.key,
                "value": record.value,
                "headers": [[name, item] for name, item in record.headers],
                "at": unit.clock.system_now(),
            }
            await unit.plumbing("dead_letters").update({"_id": identifier}, {"$setOnInsert": row}, upsert=True)

        await self._mongo.run(system_scope("-", "deadletters"), keep)
        log.error("event.rejected", extra={"code": outcome.code, "group": self.group, "topic": record.topic})
        return outcome


class _Refused(Exception):
    """Rolls the transaction back; a rejected event leaves nothing but its dead letter."""

    def __init__(self, outcome: Reject) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome
