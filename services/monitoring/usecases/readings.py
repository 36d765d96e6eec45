"""Readings in, alarms out: one transaction holds a batch's readings, the engines' states, the alarms and their events."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.monitoring import schemas
from services.monitoring.alarms import RuleState, Transition, evaluate
from services.monitoring.limits import Limit
from services.monitoring.model import ENDED, OPEN
from services.monitoring.signals import MANUAL
from services.monitoring.store import ENGINES, SESSIONS, VITALS, readings_by_id, sessions_with_engines
from services.monitoring.usecases import raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.vitals import DIASTOLIC, SYSTOLIC, Verdict, judge
from shared.errors import NotFound, StillwaterError
from shared.ids import derived_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Scope

TRUSTED = timedelta(seconds=10)
TRANSPORT_SECONDS = 2.0
JUMP_WINDOW = timedelta(seconds=60)
Results = list[schemas.ReadingResult]


@dataclass(frozen=True)
class Delivery:
    """One request: on whose behalf, for which session, what was measured; `interval_s` as the device declared it."""

    scope: Scope
    session_id: str
    readings: Sequence[schemas.Reading]
    interval_s: float | None = None


@dataclass
class _Session:
    """One session within the batch."""

    row: Document
    limits: tuple[Limit, ...]
    before: dict[str, RuleState]
    signals: dict[str, Document]
    states: dict[str, RuleState] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    previous: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)


async def take(
    unit: UnitOfWork, deps: Deps, deliveries: Sequence[Delivery], *, repeated: bool
) -> list[Results | StillwaterError]:
    """The results of each delivery in order; acknowledged only with every alarm transition that they caused.

    A delivery for an unknown session, or another clinic's, is NotFound and changes nothing for its neighbours.
    Duplicates are rare: the store's unique key finds them, and only then, `repeated`, is looked for what is known.
    """
    ids = sorted({delivery.session_id for delivery in deliveries})
    found = await sessions_with_engines(unit, ids)
    sessions = {identifier: _open(deps, row, engine) for identifier, (row, engine) in found.items()}
    batch = _Batch(unit, sessions)
    if repeated:
        await batch.find_known(deliveries)
    answers: list[Results | StillwaterError] = []
    for delivery in deliveries:
        session = sessions.get(delivery.session_id)
        if session is None or session.row["clinic_id"] != delivery.scope.clinic_id:
            answers.append(NotFound())
        else:
            answers.append(await batch.add(session, delivery))
    await batch.save()
    return answers


def _open(deps: Deps, row: Document, engine: Document | None) -> _Session:
    states = raising.states_of(engine)
    signals = dict(engine["signals"]) if engine else {}
    return _Session(row, deps.limits(row), states, signals, dict(states))


class _Batch:
    def __init__(self, unit: UnitOfWork, sessions: dict[str, _Session]) -> None:
        self._unit, self._sessions = unit, sessions
        self._now = unit.clock.clinical_now()
        self._tolerance = max(TRUSTED, unit.clock.clinical_span(TRANSPORT_SECONDS))
        self._known: dict[str, float] = {}
        self._rows: list[Document] = []

    async def find_known(self, deliveries: Sequence[Delivery]) -> None:
        ids = [_id(delivery.session_id, reading) for delivery in deliveries for reading in delivery.readings]
        self._known = {name: row["value"] for name, row in (await readings_by_id(self._unit, ids)).items()}

    async def add(self, session: _Session, delivery: Delivery) -> Results:
        """The results in the order of the request; judged in the order of measurement."""
        unit, devices = self._unit.under(delivery.scope), {reading.device for reading in delivery.readings}
        await self._note_devices(unit, session, delivery, devices)
        numbered = sorted(enumerate(delivery.readings), key=lambda pair: (pair[1].taken_at, pair[1].sign != SYSTOLIC))
        systolic = {(r.device, r.taken_at): r.value for r in delivery.readings if r.sign == SYSTOLIC}
        results: dict[int, schemas.ReadingResult] = {}
        for number, reading in numbered:
            paired = systolic.get((reading.device, reading.taken_at)) if reading.sign == DIASTOLIC else None
            results[number] = await self._one(unit, session, reading, paired)
        session.heard |= devices
        return [results[number] for number in range(len(results))]

    async def _note_devices(self, unit: UnitOfWork, session: _Session, delivery: Delivery, devices: set[str]) -> None:
        """Machine readings are audited once per device and session, readings by hand each time."""
        patient_id, known = session.row["patient_id"], session.row["devices"]
        for device in sorted(devices):
            if device == MANUAL or device not in known or delivery.interval_s not in (None, known[device]):
                audit(unit, "vitals.take", f"session/{delivery.session_id}", patient_id=patient_id)
            if device != MANUAL and (device not in known or delivery.interval_s not in (None, known[device])):
                known[device] = delivery.interval_s
                change = {"$set": {f"devices.{device}": delivery.interval_s}}
                await unit.collection(SESSIONS).change({"_id": delivery.session_id}, change)

    async def _one(
        self, unit: UnitOfWork, session: _Session, reading: schemas.Reading, paired: float | None
    ) -> schemas.ReadingResult:
        identifier = _id(session.row["_id"], reading)
        conflict = identifier in self._known and self._known[identifier] != reading.value
        if conflict:
            # The same moment with another value: kept beside the first and judged like any other.
            identifier = derived_id(identifier, repr(reading.value))
        if identifier in self._known:
            return schemas.ReadingResult(id=identifier, result="duplicate")
        self._known[identifier] = reading.value
        verdict, reason = judge(reading.sign, reading.value, reading.unit, paired)
        ended = session.row["state"] in ENDED
        self._rows.append(self._row(session, identifier, reading, reason, conflict=conflict, after_end=ended))
        if session.row["state"] in OPEN:
            await self._judge(unit, session, reading, verdict)
        return schemas.ReadingResult(id=identifier, result="quarantined" if reason else "stored", reason=reason)

    def _row(
        self,
        session: _Session,
        identifier: str,
        reading: schemas.Reading,
        reason: str | None,
        *,
        conflict: bool,
        after_end: bool,
    ) -> Document:
        row: Document = {
            "_id": identifier,
            "schema_version": 1,
            "clinic_id": session.row["clinic_id"],
            "session_id": session.row["_id"],
            "sign": reading.sign,
            "value": reading.value,
            "unit": reading.unit,
            "device": reading.device,
            "taken_at": reading.taken_at,
            "received_at": self._now,
        }
        flags = {"quarantined": reason, "conflict": conflict or None, "after_end": after_end or None}
        return row | {name: value for name, value in flags.items() if value}

    async def _judge(self, unit: UnitOfWork, session: _Session, reading: schemas.Reading, verdict: Verdict) -> None:
        """A quarantined value changes nothing in the engine: an alarm stands until a valid value arrives."""
        if verdict == "quarantined":
            return
        trusted = abs(self._now - reading.taken_at) <= self._tolerance
        at = reading.taken_at if trusted else self._now
        previous = await self._previous(session, reading, at)
        session.states, found = evaluate(session.states, reading.sign, reading.value, at, session.limits, previous)
        session.transitions += found
        if found:
            # Kept with their ids before the next reading is judged: a clear in the same batch needs the id.
            session.states = await raising.apply(unit, session.row, session.states, found)
        session.previous[reading.sign] = (reading.value, at)

    async def _previous(self, session: _Session, reading: schemas.Reading, at: datetime) -> float | None:
        """The sign's reading before this one, asked for only where a rule's jump may bypass its delay."""
        wanted = any(
            limit.rule.jump is not None
            and limit.rule.sign == reading.sign
            and limit.breached(reading.value)
            and limit.name not in session.states
            for limit in session.limits
        )
        if not wanted:
            return None
        if reading.sign in session.previous:
            value, then = session.previous[reading.sign]
            return value if at - then <= JUMP_WINDOW else None
        query = {
            "clinic_id": session.row["clinic_id"],
            "session_id": session.row["_id"],
            "sign": reading.sign,
            "taken_at": {"$gte": at - JUMP_WINDOW, "$lt": at},
        }
        rows = await self._unit.plumbing(VITALS).find(query, sort=[("taken_at", -1)], limit=5)
        return next((row["value"] for row in rows if "quarantined" not in row), None)

    def _owner(self, session: _Session) -> Scope:
        return replace(self._unit.scope, clinic_id=session.row["clinic_id"])

    async def save(self) -> None:
        """Readings in one insert; an engine only where something is not at rest or was not."""
        await self._unit.plumbing(VITALS).insert_many(self._rows)
        for identifier, session in self._sessions.items():
            owner = self._unit.under(self._owner(session))
            restored = await self._restore(owner, session)
            if session.states != session.before or restored:
                engine = raising.engine_of(identifier, session.states, session.signals)
                await owner.collection(ENGINES).put(engine)

    async def _restore(self, owner: UnitOfWork, session: _Session) -> bool:
        back = sorted(session.heard & set(session.signals))
        for device in back:
            await raising.restore_signal(owner, session.row, session.signals.pop(device), self._now)
        return bool(back)


def _id(session_id: str, reading: schemas.Reading) -> str:
    return derived_id(session_id, reading.sign, reading.taken_at.isoformat(), reading.device)
