"""What intake says: plans open, hold, release and close courses; risk and consents hold them; erasure empties the book."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.scheduling.store import CLINIC, COURSES
from services.scheduling.usecases import courses, patients, visits
from services.scheduling.usecases.appointments import cancel_dosing
from services.scheduling.usecases.deps import Deps
from shared.persistence.mongo import Document, UnitOfWork

_HOLD_OF: Mapping[str, str] = {"paused": "paused", "discontinued": "discontinued"}
_PLAN = ("patient_id", "route", "session_count", "min_gap_hours", "integration_after")


async def know_plan(
    unit: UnitOfWork,
    deps: Deps,
    plan: Document,
    sequence: str,
    *,
    reviewed: bool = False,
    act: bool = True,
) -> bool:
    """The whole plan as it is at `sequence`; False when something newer is known. `act=False`: a State event.

    `reviewed`: a prescriber lets it go on, which ends the hold after an aborted session too.
    """
    plan_id, status = plan["plan_id"], plan["state"]
    patient = await patients.lock(unit, plan["patient_id"])
    course = await courses.find_or_stub(unit, plan_id, plan["patient_id"])
    if patient["erased"] or not _newer(course["plan_sequence"], sequence, act=act):
        return False
    fields = {name: plan[name] for name in _PLAN}
    course = await courses.save(unit, course, **fields, known=True, status=status, plan_sequence=sequence)
    wanted = {_HOLD_OF[status]} if status in _HOLD_OF else set()
    wanted |= patients.holds(patient, deps.protocol.consents(course["route"]))
    ended = {"paused", "discontinued"} | ({"aborted"} if reviewed else set())
    if not act:
        await _set_holds(unit, course, wanted)
        return True
    course = await _change_holds(unit, course, wanted, ended | {"risk", "consent_revoked"})
    if status == "discontinued":
        await cancel_dosing(unit, deps, {"plan_id": plan_id}, "plan_discontinued")
    await visits.catch_up(unit, deps, course)
    return True


def _newer(known: str, sequence: str, *, act: bool) -> bool:
    """Events are applied if newer, State events if not older."""
    return sequence > known if act else sequence >= known


async def _change_holds(unit: UnitOfWork, course: Document, wanted: set[str], ended: set[str]) -> Document:
    for code in sorted(wanted):
        course = await courses.hold(unit, course, code)
    for code in sorted(ended - wanted):
        course = await courses.release(unit, course, code)
    return course


async def _set_holds(unit: UnitOfWork, course: Document, wanted: set[str]) -> None:
    own = [entry for entry in course["holds"] if entry["code"] in ("aborted", "no_slot")]
    await courses.save(unit, course, holds=[*own, *({"code": code, "cause": ""} for code in sorted(wanted))])


# The patient


async def know_risk(
    unit: UnitOfWork, deps: Deps, patient_id: str, sequence: str, *, held: bool, act: bool = True
) -> bool:
    """Dosing waits from a flag, whatever its level, until it is cleared. False when something newer is known."""
    patient = await patients.lock(unit, patient_id)
    if patient["erased"] or not _newer(patient["risk"]["sequence"], sequence, act=act):
        return False
    patient = await patients.save(unit, patient, risk={"held": held, "sequence": sequence})
    await _hold_all(unit, deps, patient, act=act)
    return True


async def know_consent(
    unit: UnitOfWork, deps: Deps, patient_id: str, consent_id: str, consent: Document, *, act: bool = True
) -> bool:
    """`consent`: document, state, sequence. A revocation cancels the dosing sessions ahead. False when something newer is known."""
    patient = await patients.lock(unit, patient_id)
    known = patient["consents"].get(consent_id, {"sequence": ""})
    if patient["erased"] or not _newer(known["sequence"], consent["sequence"], act=act):
        return False
    consents = patient["consents"] | {consent_id: consent}
    patient = await patients.save(unit, patient, consents=consents)
    await _hold_all(unit, deps, patient, act=act)
    return True


async def _hold_all(unit: UnitOfWork, deps: Deps, patient: Document, *, act: bool) -> None:
    """Every course of the patient, by the consent that its route rests on; what is ahead without one is cancelled."""
    query = {"patient_id": patient["_id"], "status": {"$nin": list(courses.FINAL)}}
    for course in await unit.collection(COURSES).find(query):
        held = patients.holds(patient, deps.protocol.consents(course["route"]))
        if not act:
            kept = {code for code in courses.codes(course) if code in _HOLD_OF}
            await _set_holds(unit, course, kept | held)
            continue
        await _change_holds(unit, course, held, {"risk", "consent_revoked"})
        if "consent_revoked" in held:
            await cancel_dosing(unit, deps, {"plan_id": course["_id"]}, "consent_revoked")
    if act and "consent_revoked" in patients.holds(patient, deps.protocol.consents(None)):
        await cancel_dosing(unit, deps, {"patient_id": patient["_id"], "plan_id": None}, "consent_revoked")


async def know_patient(unit: UnitOfWork, patient_id: str, time_zone: str, sequence: str, *, act: bool = True) -> bool:
    patient = await patients.lock(unit, patient_id)
    if patient["erased"] or not _newer(patient["sequence"], sequence, act=act):
        return False
    await patients.save(unit, patient, time_zone=time_zone, sequence=sequence)
    return True


async def forget_patient(unit: UnitOfWork, deps: Deps, patient_id: str) -> None:
    """The projection goes, what is ahead is cancelled, and later events about this patient find the marker."""
    patient = await patients.lock(unit, patient_id)
    blank = {"time_zone": None, "consents": {}, "risk": {"held": False, "sequence": ""}, "last_dose_at": None}
    await patients.save(unit, patient, **blank, erased=True)
    await cancel_dosing(unit, deps, {"patient_id": patient_id}, "erased")


async def know_clinic(unit: UnitOfWork, time_zone: str, sequence: str) -> bool:
    """The clinic's wall clock, for hours and cadence. False for an older profile, and for a zone that does not exist."""
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    clinics, clinic_id = unit.collection(CLINIC), unit.scope.clinic_id
    known = await clinics.find_one({"_id": clinic_id})
    if known and known["sequence"] > sequence:
        return False
    await clinics.put({"_id": clinic_id, "schema_version": 1, "sequence": sequence, "time_zone": time_zone})
    return True
