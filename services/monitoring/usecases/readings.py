"""Readings in, alarms out: one transaction holds a batch's readings, the engines' states, the alarms and their events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.monitoring import schemas
from services.monitoring.folding import bucket_id, conflict_id, reading_id, span_of, unfold
from services.monitoring.model import ENDED, OPEN
from services.monitoring.pressures import NO_PAIR, PRESSURES, Pressures, may_be_swapped, pressures_of, swapped
from services.monitoring.recent import Recent
from services.monitoring.store import BUCKETS, SESSIONS, VITALS, readings_by_id, sessions_with_engines
from services.monitoring.timing import TRUSTED, Tells
from services.monitoring.usecases import folding
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.devices import was_here
from services.monitoring.usecases.judging import Given, Judged, breaches
from services.monitoring.usecases.pairing import SWAPPED, paired
from services.monitoring.usecases.placing import Placing
from services.monitoring.vitals import (
    MANUAL,
    SYSTOLIC,
    Outcome,
    Seen,
    believed,
    counts_at,
    doubtful,
    flat,
    judge,
    jumped,
    ordinary,
)
from shared.errors import NotFound, StillwaterError
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Scope

Results = list[Outcome]
Answers = list[Results | StillwaterError]
UNKNOWN = Outcome(id="-", result="refused", reason="session_unknown")
UNASSIGNED = Outcome(id="-", result="refused", reason="device_unassigned")


@dataclass(frozen=True)
class Delivery:
    """One request or a part of it: on whose behalf, what was measured, `interval_s` as the device declared it.

    Without a session each reading names its own, or is one of the session that its device is assigned to. `arrived_at`:
    when the service had it, in clinical time; without one it is now.
    """

    scope: Scope
    session_id: str | None
    readings: Sequence[schemas.Reading]
    interval_s: float | None = None
    arrived_at: datetime | None = None


async def take(
    unit: UnitOfWork, deps: Deps, deliveries: Sequence[Delivery], recent: Recent, *, repeated: bool
) -> tuple[Answers, Recent]:
    """The results of each delivery in order, and what `recent` learns when the unit is committed.

    Acknowledged only with every alarm transition that they caused. A delivery for an unknown session, or another
    clinic's, is NotFound and changes nothing for its neighbours. Duplicates are rare: the store's unique key finds them,
    and only then, `repeated`, is looked for what is known.
    """
    batch = _Batch(unit, deps, recent)
    targets = [
        await batch.placing.targets(
            delivery.scope.clinic_id, delivery.session_id, delivery.readings, batch.arrival_of(delivery)
        )
        for delivery in deliveries
    ]
    await batch.load(targets)
    if repeated:
        await batch.find_known(deliveries, targets)
    answers: Answers = []
    for delivery, target in zip(deliveries, targets, strict=True):
        if delivery.session_id is not None and not batch.knows(delivery.scope, delivery.session_id):
            answers.append(NotFound())
        else:
            answers.append(await batch.add(delivery, target))
    await batch.save()
    return answers, batch.learnt


class _Batch:
    def __init__(self, unit: UnitOfWork, deps: Deps, recent: Recent) -> None:
        self._unit, self._deps, self._recent = unit, deps, recent
        self.learnt = Recent()
        self.placing = Placing(unit, recent, self.learnt)
        self._now = self._arrived_at = self.placing.now
        self._delivered: Sequence[schemas.Reading] = ()
        self._sessions: dict[str, Judged] = {}
        self._known: dict[str, float] = {}
        self._uncounted: set[str] = set()
        self._rows: list[Document] = []
        self._arrived: list[Given] = []

    async def load(self, targets: Sequence[Sequence[str | None]]) -> None:
        """Every session with its engine, in one visit."""
        ids = sorted({name for target in targets for name in target if name is not None})
        found = await sessions_with_engines(self._unit, ids) if ids else {}
        self.learnt.sessions = set(found)
        for identifier, (row, engine) in found.items():
            limits = self._deps.limits(row)
            self._sessions[identifier] = Judged.of(row, limits, engine, self._deps.calm(limits))

    def knows(self, scope: Scope, session_id: str | None) -> bool:
        session = self._sessions.get(session_id or "")
        return session is not None and session.row["clinic_id"] == scope.clinic_id

    async def find_known(self, deliveries: Sequence[Delivery], targets: Sequence[Sequence[str | None]]) -> None:
        ids = list[str]()
        for delivery, names in zip(deliveries, targets, strict=True):
            for reading, target in zip(delivery.readings, names, strict=True):
                if target is not None:
                    key = reading_id(target, reading.sign, reading.taken_at, reading.device)
                    ids += [key, conflict_id(key, reading.value)]
        self._note_known((await readings_by_id(self._unit, ids)).values())

    def _note_known(self, rows: Iterable[Document]) -> None:
        for row in rows:
            self._known[row["_id"]] = row["value"]
            if not believed(row):
                self._uncounted.add(row["_id"])

    def arrival_of(self, delivery: Delivery) -> datetime:
        return delivery.arrived_at or self._now

    async def add(self, delivery: Delivery, targets: Sequence[str | None]) -> Results:
        """The results in the order of the request; judged in the order of measurement."""
        readings, unit = delivery.readings, self._unit.under(delivery.scope)
        self._arrived_at = self.arrival_of(delivery)
        results: dict[int, Outcome] = {}
        places: dict[str, list[int]] = {}
        for place, target in enumerate(targets):
            if target is None:
                results[place] = UNASSIGNED
            elif self.knows(delivery.scope, target):
                places.setdefault(target, []).append(place)
            else:
                results[place] = UNKNOWN
        for target, numbers in places.items():
            session = self._sessions[target]
            await self._add_to(unit, session, delivery, [readings[number] for number in numbers], numbers, results)
        return [results[place] for place in range(len(readings))]

    async def _add_to(
        self,
        unit: UnitOfWork,
        session: Judged,
        delivery: Delivery,
        readings: Sequence[schemas.Reading],
        places: Sequence[int],
        results: dict[int, Outcome],
    ) -> None:
        devices, known = {reading.device for reading in readings}, len(self._rows)
        if session.row.get("folding_at") or session.row.get("folded_at"):
            await self._find_folded(session, readings)
        pressures, self._delivered = pressures_of(readings), readings
        order = range(len(readings))
        if len(readings) > 1:
            order = sorted(order, key=lambda n: (readings[n].taken_at, readings[n].sign != SYSTOLIC))  # type: ignore[assignment]
        for number in order:
            reading = readings[number]
            outcome = self._ordinary(session, reading, pressures)
            results[places[number]] = outcome or await self._one(unit, session, reading, pressures)
        for given in self._arrived:  # after all that they say of their own time, else a breach would last until now
            await session.now(unit, given)
            session.seen(given.sign, given.value, given.at, given.device)
        self._arrived.clear()
        heard = {row["device"] for row in self._rows[known:]}  # a request that is sent again is no sign of life
        await self._note_devices(unit, session, delivery, heard | (devices & {MANUAL}))
        session.heard |= heard
        for device in devices - {MANUAL}:
            await self._judge_clock(unit, session, device)

    async def _note_devices(self, unit: UnitOfWork, session: Judged, delivery: Delivery, devices: set[str]) -> None:
        """Machine readings are audited once per device and session, readings by hand each time."""
        patient_id, known = session.row["patient_id"], session.row["devices"]
        for device in sorted(devices):
            new = device not in known or delivery.interval_s not in (None, known[device])
            if new or device == MANUAL:
                audit(unit, "vitals.take", f"session/{session.id}", patient_id=patient_id)
            if new and device != MANUAL and not await self._has_left(unit, session, device):
                known[device] = delivery.interval_s
                change = {"$set": {f"devices.{device}": delivery.interval_s}}
                await unit.collection(SESSIONS).change({"_id": session.id}, change)

    async def _has_left(self, unit: UnitOfWork, session: Judged, device: str) -> bool:
        """Whether this is only what was on its way when another took the device's place: nobody waits for more."""
        mine = [row for row in self._rows if row["session_id"] == session.id and row["device"] == device]
        newest = max((counts_at(row) for row in mine), default=None)
        return newest is not None and await was_here(unit, session.row, device, newest - self.placing.trusted)

    async def _find_folded(self, session: Judged, readings: Sequence[schemas.Reading]) -> None:
        """Duplicates of what lies in buckets; and what is new once all does is folded too, a day from now."""
        wanted = {bucket_id(session.id, reading.sign, span_of(reading.taken_at)) for reading in readings}
        for bucket in await self._unit.plumbing(BUCKETS).find({"_id": {"$in": sorted(wanted)}}):
            self._note_known(unfold(bucket))
        if session.row.get("folded_at"):
            await folding.later(self._unit, session.row, self._now)

    async def _judge_clock(self, unit: UnitOfWork, session: Judged, device: str) -> None:
        if session.row["state"] not in OPEN:
            return
        timing = self.placing.timing(session.row["clinic_id"], device)
        if timing.tells == "clock":
            await session.clock_wrong(unit, device, timing.offset)
        elif timing.tells == "now":
            session.caught_up(self._arrived_at)
            if session.technical:
                await session.doubt_over(unit, f"clock:{device}", timing.offset.total_seconds())

    def _ordinary(self, session: Judged, reading: schemas.Reading, pressures: Pressures) -> Outcome | None:
        """A new reading of now, of a calm session, with nothing to ask or to tell: most of them. None: it is looked at closer."""
        sign, value = reading.sign, reading.value
        if not (ordinary(sign, value, reading.unit) and session.calm(sign, value)):
            return None
        if sign in PRESSURES and swapped(pressures[(reading.device, reading.taken_at)]):
            return None
        if self.placing.tells(session.row["clinic_id"], reading, self._arrived_at) != "now":
            return None
        identifier = reading_id(session.id, sign, reading.taken_at, reading.device)
        if identifier in self._known:
            return None
        row = self._keep(session, identifier, reading)
        if flags := self._flags(session, reading):
            row["flags"] = flags
        session.seen(sign, value, reading.taken_at, reading.device)
        return Outcome(identifier, "stored")

    async def _one(self, unit: UnitOfWork, session: Judged, reading: schemas.Reading, pressures: Pressures) -> Outcome:
        identifier = reading_id(session.id, reading.sign, reading.taken_at, reading.device)
        value, stored = reading.value, self._known.get(identifier)
        counted = None if identifier in self._uncounted else stored
        if stored is not None and stored != value:
            identifier = conflict_id(identifier, value)
        if identifier in self._known:
            return Outcome(id=identifier, result="duplicate")
        row = self._keep(session, identifier, reading)
        pair = pressures[(reading.device, reading.taken_at)] if reading.sign in PRESSURES else NO_PAIR
        if None in pair and may_be_swapped(reading) and not session.calm(reading.sign, value):
            pair = await paired(unit, session.id, reading, self._rows)
        flipped = swapped(pair)
        _, reason = judge(reading.sign, value, reading.unit, pair[0])
        tells = self.placing.tells(session.row["clinic_id"], reading, self._arrived_at)
        asks = doubtful(reading.sign, value)
        flags = self._flags(session, reading)
        if asks:
            flags.append("confirm")
        if flipped:
            flags.append(SWAPPED)
        self._mark(row, reading, tells, flags, reason=reason, conflict=stored is not None)
        await self._judge(unit, session, reading, tells, stored=counted, reason=reason)
        if reason is not None:
            self._uncounted.add(identifier)
            return Outcome(id=identifier, result="quarantined", reason=reason, wanted="remeasure")
        return Outcome(id=identifier, result="stored", wanted="confirm" if asks else None)

    def _mark(
        self,
        row: Document,
        reading: schemas.Reading,
        tells: Tells,
        flags: list[str],
        *,
        reason: str | None,
        conflict: bool,
    ) -> None:
        """What is not ordinary about it; `late` is never shown as now, by a wrong clock it is of now and the row says how wrong."""
        if reason is not None:
            row["quarantined"] = reason
        if conflict:
            row["conflict"] = True
        if flags:
            row["flags"] = flags
        if tells in ("late", "unsure"):
            row["late"] = True
        elif tells == "clock":
            row["clock_off_s"] = round((self._arrived_at - reading.taken_at).total_seconds(), 3)

    def _keep(self, session: Judged, identifier: str, reading: schemas.Reading) -> Document:
        """Its row, to be stored with the batch and known from now on."""
        row: Document = {
            "_id": identifier,
            "schema_version": 1,
            "clinic_id": session.row["clinic_id"],
            "session_id": session.id,
            "sign": reading.sign,
            "value": reading.value,
            "unit": reading.unit,
            "device": reading.device,
            "taken_at": reading.taken_at,
            "received_at": self._arrived_at,
        }
        if session.row["state"] in ENDED:
            row["after_end"] = True
        self._known[identifier] = reading.value
        self._rows.append(row)
        return row

    def _flags(self, session: Judged, reading: schemas.Reading) -> list[str]:
        """What no body does; stored and judged like any other."""
        key = (session.id, reading.sign, reading.device)
        value, taken_at = reading.value, reading.taken_at
        before = self.learnt.seen.get(key) or self._recent.seen.get(key)
        if before is None:
            self.learnt.seen[key] = Seen(value, taken_at, taken_at)
            return []
        self.learnt.seen[key] = before.then(value, taken_at)
        if before.value != value:
            return ["jump"] if jumped(reading.sign, value, taken_at, before) else []
        return ["flat"] if flat(reading.sign, value, taken_at, before) else []

    async def _judge(
        self,
        unit: UnitOfWork,
        session: Judged,
        reading: schemas.Reading,
        tells: Tells,
        *,
        stored: float | None,
        reason: str | None,
    ) -> None:
        """A quarantined value changes nothing in the engine: an alarm stands until a valid value arrives."""
        row, value, valid = session.row, reading.value, reason is None
        if row["state"] not in OPEN:
            ended_at = row["ended_at"]
            if valid and row["state"] in ENDED and ended_at is not None and reading.taken_at < ended_at:
                late = Given(reading.sign, value, reading.taken_at, reading.device)
                await session.episode(unit, late, ended=True)
                await session.to_confirm(unit, late, ended=True)
            return
        await self._doubt(unit, session, reading, tells, reason)
        if not valid:
            return
        if stored is not None and breaches(session.limits, reading.sign, value) < breaches(
            session.limits, reading.sign, stored
        ):
            return  # of two values for one moment the worse counts until a human decides
        given = Given(reading.sign, value, reading.taken_at, reading.device)
        if tells in ("late", "unsure"):
            await session.episode(unit, given)
        if tells == "late" or (tells == "unsure" and await self._is_followed(unit, session, reading)):
            return
        if tells != "now":
            self._arrived.append(replace(given, at=self._arrival(reading)))
            return
        if not session.at_rest(reading.sign, value):
            await session.now(unit, given)
        session.seen(reading.sign, value, given.at, reading.device)

    async def _is_followed(self, unit: UnitOfWork, session: Judged, reading: schemas.Reading) -> bool:
        """Whether the sign is known as of later: as of now in this delivery, or in what is stored."""
        beside = any(
            other.sign == reading.sign and abs(self._arrived_at - other.taken_at) <= self.placing.trusted
            for other in self._delivered
        )
        return beside or await session.knows_newer(unit, reading)

    def _arrival(self, reading: schemas.Reading) -> datetime:
        """The newest of its device is one of now; those before it keep their distance, so that none outlives the next."""
        newest = max(other.taken_at for other in self._delivered if other.device == reading.device)
        return self._arrived_at - min(newest - reading.taken_at, TRUSTED)

    async def _doubt(
        self, unit: UnitOfWork, session: Judged, reading: schemas.Reading, tells: Tells, reason: str | None
    ) -> None:
        """The alarm of a value that is not believed stands until a valid one arrives, that of a doubtful one until a sure one.

        What ends it is of now, and was measured later.
        """
        sign, value = reading.sign, reading.value
        at = self._arrival(reading) if tells == "clock" else reading.taken_at
        await session.asks(unit, Given(sign, value, at), reason)
        if reason is not None:
            return
        if not session.technical or tells == "late":
            return
        if tells == "unsure" and await self._is_followed(unit, session, reading):
            return
        if not doubtful(sign, value):
            await session.doubt_over(unit, f"confirm:{sign}", value, at)
        await session.doubt_over(unit, f"implausible:{sign}", value, at)

    async def save(self) -> None:
        """Readings in one insert."""
        await self._unit.plumbing(VITALS).insert_many(self._rows)
        for session in self._sessions.values():
            if not session.stirred:
                continue
            owner = self._unit.under(replace(self._unit.scope, clinic_id=session.row["clinic_id"]))
            await session.save(owner, self._now)
