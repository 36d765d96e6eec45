"""One chair with a real store behind it: the clock is moved by hand, events are read from the outbox."""

import os
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.evaluator import Evaluator
from services.monitoring.handlers import ALARM_HANDLERS, EVENT_HANDLERS
from services.monitoring.ingest import Ingest
from services.monitoring.memory import Memory
from services.monitoring.usecases import answering, baseline, dosing, ending, gating, sessions
from services.monitoring.usecases.readings import Delivery, Results
from services.monitoring.wiring import make_deps
from shared.clock import ManualClock
from shared.events.envelope import Envelope, Event, rfc3339
from shared.events.registry import REGISTRY
from shared.ids import new_id
from shared.messaging.handling import EventContext
from shared.messaging.outcomes import Outcome
from shared.messaging.topics import BULK, INTAKE_ALARMS
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.persistence.vault import KeyRing

CLINIC = "clinic-1"
NURSE = Scope(CLINIC, Actor("nurse-1", "nurse"))
PRESCRIBER = Scope(CLINIC, Actor("doctor-1", "prescriber"))
UNITS = {"8480-6": "mm[Hg]", "8462-4": "mm[Hg]", "8867-4": "/min", "59408-5": "%", "9279-1": "/min", "8310-5": "Cel"}


def ring() -> KeyRing:
    return KeyRing(f"k1:{b64encode(os.urandom(32)).decode()}")


class Chair:
    """A session in dosing after `seat`; readings in, alarms and events out."""

    def __init__(self, mongo: Mongo, clock: ManualClock) -> None:
        self.mongo, self.clock = mongo, clock
        self.deps = make_deps(ring())
        self.memory = Memory(mongo, self.deps)
        self.ingest = Ingest(mongo, self.deps, self.memory)
        self.evaluator = Evaluator(mongo, self.deps, self.memory, new_id())
        self.session_id, self.baseline_at = "", clock.clinical_now()
        self.patient_id = new_id()

    async def _run(self, work: Any, scope: Scope = NURSE) -> Any:
        return await self.mongo.run(scope, work)

    async def seat(self, *, dose: bool = True) -> "Chair":
        async def work(unit: UnitOfWork) -> str:
            row = await sessions.open_unscheduled(unit, self.deps, schemas.NewSession(patient_id=self.patient_id))
            ready = schemas.Readiness(fasting=True, escort_named=True, well_today=True)
            staff = [schemas.Staff(role="nurse", staff_id="nurse-1")]
            arrival = schemas.CheckIn(
                identity_confirmed=True,
                display_label="ADA",
                room="R",
                chair="2",
                responsible_staff=staff,
                readiness=ready,
            )
            await sessions.check_in(unit, self.deps, row["_id"], arrival)
            base = schemas.Baseline(systolic=120, diastolic=80, heart_rate=70, spo2=98, weight_kg=70)
            await baseline.take(unit, self.deps, row["_id"], base)
            return str(row["_id"])

        self.baseline_at = self.clock.clinical_now()
        self.session_id = await self._run(work)
        self.clock.advance(61)  # what is measured from here on is no jump from it
        if dose:
            await self.doses()
        return self

    async def doses(self, **other: Any) -> Document:
        """By a prescriber, for nothing is known here of the patient."""
        given = {"medication": "ketamine", "amount_mg": 35, "lot": "L", "expiry": "2028-01", "override_reason": "alone"}
        body = schemas.Dose(**(given | other))
        row: Document = await self._run(lambda unit: dosing.give(unit, self.deps, self.session_id, body), PRESCRIBER)
        return row

    async def tells(self, event: Event, version: int = 1, scope: Scope = NURSE) -> Outcome | None:
        """What another service says arrives, as the consumer would hand it over."""
        envelope = Envelope(
            id=new_id(),
            source=f"/stillwater/{event.SERVICE}/test",
            type=event.event_type(),
            time=rfc3339(self.clock.system_now()),
            clinic_id=scope.clinic_id,
            partition_key="-",
            sequence=f"{version:010d}.0001",
        )
        handler = {**EVENT_HANDLERS, **ALARM_HANDLERS}[type(event)]

        async def work(unit: UnitOfWork) -> Outcome:
            return await handler(EventContext(unit, envelope, self.deps, self.clock.clinical_now()), event)

        outcome: Outcome = await self._run(work, scope)
        return outcome

    async def hears(self, seconds_ago: float = 0) -> None:
        """The consumers had read everything by then."""
        at = self.clock.system_now() - timedelta(seconds=seconds_ago)
        for topic in (BULK["intake"], INTAKE_ALARMS, BULK["scheduling"]):
            partitions = {f"partitions.{number}": at for number in range(topic.partitions)}
            await self.mongo.plumbing("sources").update({"_id": topic.name}, {"$set": partitions}, upsert=True)

    async def session(self) -> Document:
        found = await self.mongo.plumbing("sessions").find_one({"_id": self.session_id})
        assert found is not None
        return found

    async def gate(self) -> dict[str, str]:
        """The reasons with their classes."""

        async def work(unit: UnitOfWork) -> dict[str, str]:
            judged = await gating.judge(unit, self.deps, await self.session())
            return {reason.code: reason.kind for reason in judged.reasons}

        found: dict[str, str] = await self._run(work)
        return found

    def reading(self, value: float, sign: str = "8480-6", *, at: datetime | None = None, device: str = "m1") -> Any:
        return schemas.Reading(
            sign=sign,
            value=value,
            unit=UNITS[sign],
            taken_at=at or self.clock.clinical_now(),
            device=device,
        )

    async def measures(self, value: float, sign: str = "8480-6", **other: Any) -> Results:
        return await self.sends(self.reading(value, sign, **other))

    async def sends(self, *readings: Any, scope: Scope = NURSE) -> Results:
        return await self.ingest.deliver(Delivery(scope, self.session_id, readings))

    async def lasts(self, value: float, seconds: int) -> None:
        """The same pressure once a second."""
        for _ in range(seconds + 1):
            await self.measures(value)
            self.clock.advance(1)

    async def acknowledges(self, alarm_id: str) -> None:
        now = self.clock.clinical_now()
        await self._run(lambda unit: answering.accept(unit, self.deps, alarm_id, "nurse", now))

    async def leaves(self, disposition: str = "left_unseen", **details: Any) -> None:
        left = {"disposition": disposition, **details}
        await self._run(lambda unit: ending.leave(unit, self.deps, self.session_id, bodies.Leave.model_validate(left)))

    async def aborts(self) -> None:
        await self._run(lambda unit: ending.abort(unit, self.session_id, schemas.Abort(reason_code="unwell")))

    async def ticks(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        await self.evaluator.tick()

    async def alarms(self, **query: Any) -> list[Document]:
        return await self.mongo.plumbing("alarms").find({"session_id": self.session_id, **query})

    async def told(self) -> list[str]:
        """The names of the alarm events in the order of their rows."""
        rows = await self.mongo.plumbing("outbox").find({"lane": "alarm"})
        return [REGISTRY[dict(row["headers"])["ce_type"].decode()].__name__ for row in rows]

    async def events(self, kind: type[Event]) -> list[Any]:
        """What was told of one type, in the order of the rows."""
        rows = await self.mongo.plumbing("outbox").find({})
        found = [(REGISTRY[dict(row["headers"])["ce_type"].decode()], row["value"]) for row in rows]
        return [event.model_validate_json(value) for event, value in found if event is kind]


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
