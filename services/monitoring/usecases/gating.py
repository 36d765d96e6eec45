"""Judging the dose gate: everything that bears on it is gathered at this moment, from here and from what others told."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.monitoring import gate, gate_pressure, model, readiness
from services.monitoring import schemas_session as bodies
from services.monitoring.doses import given_so_far
from services.monitoring.gate_found import Found, Known, Pressure, Proposed, Reason
from services.monitoring.store import SESSIONS, VITALS, heard_from_oximeters, highest_newest, projections_as_of
from services.monitoring.timeline import present
from services.monitoring.usecases import gate_expiry, projections
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import of_session, record
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import DIASTOLIC, SYSTOLIC
from shared.errors import Conflict, Forbidden
from shared.events.monitoring import DoseGateOverridden
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork

OVERRIDERS = ("prescriber", "medical_director")


@dataclass(frozen=True)
class Judged:
    """The gate at one moment, with the pressure that it rests on.

    `overridden` are the codes that a prescriber answered less than `valid_minutes` ago, for a pressure that was no better.
    """

    reasons: list[Reason]
    overridden: frozenset[str]
    as_of: dict[str, datetime | None]
    expires_at: datetime | None
    pressure: Pressure | None

    @property
    def closing(self) -> list[Reason]:
        return gate.closing(self.reasons, self.overridden)


async def judge(
    unit: UnitOfWork, deps: Deps, session: Document, dose: Proposed | None = None, prescriber: str | None = None
) -> Judged:
    """As things are known now; `prescriber` is who is named on site, else who was named before."""
    protocol = deps.dosing(session)
    found = await _found(unit, deps, session, dose, prescriber or session.get("prescriber_on_site"))
    rules, now = protocol.gate, found.now
    override, valid = session.get("gate_override") or {}, timedelta(minutes=rules.valid_minutes)
    counts = bool(override) and now - override["at"] <= valid
    rests_on = gate_pressure.standing(found)
    expires = rests_on.at + valid if rests_on else None
    overridden = frozenset(override["codes"]) if counts else frozenset[str]()
    if gate_pressure.outgrown(rules, override.get("pressure"), rests_on):
        overridden -= {"blood_pressure"}
    return Judged(gate.reasons(rules, found), overridden, dict(found.known.as_of), expires, rests_on)


async def _found(
    unit: UnitOfWork, deps: Deps, session: Document, dose: Proposed | None, prescriber: str | None
) -> Found:
    protocol, given = deps.dosing(session), given_so_far(session["doses"])
    patient_id, appointment = session["patient_id"], session["appointment_id"] or "-"
    others: list[tuple[projections.Kind, str]] = [("clinic", unit.scope.clinic_id), ("readiness", appointment)]
    checker = dose.checked_by if dose else None
    others += [("staff", person) for person in (prescriber, checker) if person]
    told = await projections.known(unit, patient_id, *others)
    one = {kind: rows[0] for kind, rows in told.items()}
    people = {person["staff_id"]: person for person in told.get("staff", [])}
    known = Known(
        plan=await projections.plan(unit, session["plan_id"]),
        plans=[] if session["plan_id"] else await projections.plans_of(unit, patient_id),
        consents=told.get("consent", []),
        eligibility=one.get("eligibility"),
        risk=one.get("risk"),
        rems=one.get("rems"),
        summary=one.get("summary"),
        location=_location(one.get("clinic"), session.get("location_id")),
        prescriber=people.get(prescriber or ""),
        checker=people.get(checker or ""),
        as_of=await projections_as_of(unit),
    )
    ready = session["readiness"]
    if ready is None and "readiness" in one:
        ready = readiness.told(one["readiness"]["checks"])
    return Found(
        now=unit.clock.clinical_now(),
        real_now=unit.clock.system_now(),
        patient_id=patient_id,
        route=protocol.route,
        medication=protocol.medication,
        baseline=session["baseline"],
        baseline_at=session["baseline_at"],
        readiness=ready,
        planned=session["plan_id"] is not None,
        last_dose_at=await _last_dose_elsewhere(unit, session),
        ceiling=protocol.ceiling,
        medicines=deps.medicines[protocol.medicines],
        known=known,
        given=given,
        dose=dose,
        last_weight_kg=await _last_weight_elsewhere(unit, session),
        pressure=await _pressure(unit, session),
        antihypertensive_at=await _antihypertensive_at(unit, session),
        oximeter_at=await _oximeter_at(unit, session, protocol.gate.valid_minutes),
        prescriber_on_site=prescriber,
    )


def _location(clinic: Document | None, location_id: str | None) -> Document | None:
    """The session's; the clinic's only one where the session names none."""
    places = clinic["locations"] if clinic else []
    if location_id is None:
        return places[0] if len(places) == 1 else None
    return next((place for place in places if place["id"] == location_id), None)


async def _last_dose_elsewhere(unit: UnitOfWork, session: Document) -> datetime | None:
    """Of whichever session was dosed last; ids of booked sessions are in no order of time."""
    query = {"patient_id": session["patient_id"], "_id": {"$ne": session["_id"]}, "doses.0": {"$exists": True}}
    rows = await unit.collection(SESSIONS).find(query, sort=[("started_at", -1)], limit=5)
    return max((dose["at"] for row in rows for dose in row["doses"]), default=None)


async def _last_weight_elsewhere(unit: UnitOfWork, session: Document) -> float | None:
    """Of the newest baseline in another session; one that was opened by mistake is of nobody."""
    query = {"patient_id": session["patient_id"], "_id": {"$ne": session["_id"]}, "state": {"$ne": "voided"}}
    query |= {"baseline.weight_kg": {"$gt": 0}}
    rows = await unit.collection(SESSIONS).find(query, sort=[("baseline_at", -1)], limit=1)
    return rows[0]["baseline"]["weight_kg"] if rows else None


async def _pressure(unit: UnitOfWork, session: Document) -> Pressure | None:
    """Of whatever device or hand measured it; a monitor may tell the two apart from each other."""
    systolic, diastolic = [await highest_newest(unit, session["_id"], sign) for sign in (SYSTOLIC, DIASTOLIC)]
    if systolic is None or diastolic is None:
        return None
    return Pressure(systolic[1], diastolic[1], min(systolic[0], diastolic[0]))


async def _antihypertensive_at(unit: UnitOfWork, session: Document) -> datetime | None:
    given = [entry for entry in present(await of_session(unit, session["_id"])) if entry["kind"] == "intervention"]
    codes = [(entry["facts"]["intervention_code"], entry["occurred_at"]) for entry in given]
    return max((at for code, at in codes if code == "antihypertensive"), default=None)


async def _oximeter_at(unit: UnitOfWork, session: Document, valid_minutes: float) -> datetime | None:
    """When the newest SpO2 of a device arrived; what is too old to count is not looked for."""
    query = heard_from_oximeters(session["_id"], unit.clock.clinical_now() - timedelta(minutes=valid_minutes))
    rows = await unit.collection(VITALS).find(query, sort=[("received_at", -1)], limit=1)
    return rows[0]["received_at"] if rows else None


async def open_gate(unit: UnitOfWork, deps: Deps, session_id: str, body: bodies.GateOpening) -> Document:
    """Judged, and opened where nothing is against a dose or a prescriber has answered for it less than 15 minutes ago.

    The dose is judged again all the same. Raises NotFound, Conflict with every reason.
    """
    session, now = await load(unit, session_id, "gate_open"), unit.clock.clinical_now()
    named = body.prescriber_on_site or session.get("prescriber_on_site")
    opened = model.move(session, "open_gate", now, prescriber_on_site=named)
    judged = await judge(unit, deps, session, prescriber=named)
    if judged.closing:
        raise refusal(judged.reasons)
    after = await _watched(unit, deps, opened, judged, session["gate_override"] if judged.overridden else None)
    await unit.collection(SESSIONS).replace_versioned(after)
    await record(unit, after, "gate_opened")
    return after


async def _watched(
    unit: UnitOfWork, deps: Deps, opened: Document, judged: Judged, override: Document | None = None
) -> Document:
    """With the end that it has by itself."""
    valid = timedelta(minutes=deps.dosing(opened).gate.valid_minutes)
    answered = override["at"] + valid if override else None
    until = gate.open_until(unit.clock.clinical_now(), valid, judged.expires_at, answered)
    return await gate_expiry.watch(unit, opened, until)


async def override(unit: UnitOfWork, deps: Deps, session_id: str, body: bodies.Override) -> Document:
    """A prescriber goes on against what is overridable, for as long as the gate is valid; what is of one dose, for the next.

    Raises NotFound, Forbidden, Conflict with every reason when one is absolute or there is nothing to override.
    """
    session = await load(unit, session_id, "gate_override")
    named = body.prescriber_on_site or session.get("prescriber_on_site")
    found = await judge(unit, deps, session, prescriber=named)
    after = overridden(unit, session, found, body.reason_code)
    after = await _watched(unit, deps, after | {"prescriber_on_site": named}, found)
    await unit.collection(SESSIONS).replace_versioned(after)
    codes = after["gate_override"]["codes"]
    await record(unit, after, "gate_overridden", body.occurred_at, reasons=codes, reason_code=body.reason_code)
    return after


def overridden(unit: UnitOfWork, session: Document, judged: Judged, reason_code: str) -> Document:
    """The session with its gate opened against these reasons, and the event. Raises Forbidden, Conflict."""
    if unit.scope.actor.role not in OVERRIDERS:
        raise Forbidden("Only a prescriber may override the dose gate.")
    now, codes = unit.clock.clinical_now(), [reason.code for reason in judged.reasons if reason.kind == "overridable"]
    after = model.move(session, "open_gate", now)
    if any(reason.kind == "absolute" for reason in judged.reasons):
        raise refusal(judged.reasons)
    if not codes:
        text = "Nothing keeps the gate closed."
        raise Conflict(text, reasons=[{"code": "gate_open", "detail": text}])
    event = DoseGateOverridden(
        patient_id=session["patient_id"],
        session_id=session["_id"],
        reasons=codes,
        at=now,
        by_role=unit.scope.actor.role,
        reason_code=reason_code,
    )
    emit(unit, event, aggregate=f"session/{session['_id']}", version=after["version"])
    answered = {"codes": codes, "at": now, "by": unit.scope.actor.id, "reason_code": reason_code}
    return after | {"gate_override": answered | {"pressure": _told(judged.pressure)}}


def _told(pressure: Pressure | None) -> Document | None:
    return {"systolic": pressure.systolic, "diastolic": pressure.diastolic} if pressure else None


def refusal(found: list[Reason]) -> Conflict:
    shown = [{"code": reason.code, "class": reason.kind, "detail": reason.detail} for reason in found]
    return Conflict("The dose gate is closed.", reasons=shown)
