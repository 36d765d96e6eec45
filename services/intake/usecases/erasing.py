"""Erasure: keys are destroyed, the restricted topic forgets, and its partition is kept rolling until it is compacted."""

from datetime import datetime, timedelta

from services.intake import model, schemas
from services.intake.store import INQUIRIES, PATIENTS, PLANS
from services.intake.usecases.deps import Deps
from shared.errors import Conflict
from shared.events.envelope import rfc3339
from shared.events.intake import ContactRecord, InquiryErased, PatientErased
from shared.messaging.outbox import emit, emit_tombstone, forget_rows
from shared.persistence.audit import audit
from shared.persistence.erased import forget_answers, is_erased, mark_erased
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.timers import set_timer

ROLL_EVERY = timedelta(hours=1)
ROLLS = 24
RETENTION = timedelta(days=7 * 365 + 2)  # CFG: seven years after the last clinical act; a clinic signs its own


async def erase_inquiry(unit: UnitOfWork, deps: Deps, inquiry_id: str, reason_code: str) -> Document:
    """Asked for again it is done already. Raises NotFound, and Conflict for one who is a patient now."""
    inquiry = await unit.collection(INQUIRIES).get(inquiry_id)
    audit(unit, f"inquiry.erase.{reason_code}", f"inquiry/{inquiry_id}")
    if inquiry["state"] == "erased":
        return inquiry
    after = model.erase(inquiry, unit.clock.clinical_now())
    await unit.collection(INQUIRIES).replace_versioned(after)
    await _forget(unit, deps, inquiry_id, after["version"])
    emit(unit, InquiryErased(inquiry_id=inquiry_id), aggregate=f"inquiry/{inquiry_id}", version=after["version"])
    return after


async def erase_patient(unit: UnitOfWork, deps: Deps, patient_id: str, body: schemas.PatientErasure) -> Document:
    """Contact data can always go; clinical records only when their retention has passed and no legal hold runs.

    Asked for again it is done already, until there is contact data again. Raises NotFound, Conflict with `earliest_at`.
    """
    patient = await unit.collection(PATIENTS).get(patient_id)
    audit(unit, f"patient.erase.{body.scope}.{body.reason_code}", f"patient/{patient_id}", patient_id=patient_id)
    if patient["contact"] is None and (body.scope == "contact" or await is_erased(unit, patient_id)):
        return patient
    if body.scope == "all":
        await _need_nothing_keeps(unit, patient)
    after = model.changed(patient, unit.clock.clinical_now(), contact=None)
    await unit.collection(PATIENTS).replace_versioned(after)
    await _forget(unit, deps, patient_id, after["version"])
    await _forget_first_contact(unit, deps, patient["inquiry_id"])
    if body.scope == "all":
        await mark_erased(unit, patient_id)
        emit(unit, PatientErased(patient_id=patient_id), aggregate=f"patient/{patient_id}", version=after["version"])
    return after


async def _need_nothing_keeps(unit: UnitOfWork, patient: Document) -> None:
    """Raises Conflict with every reason; a hold has no end that is known."""
    reasons = [found for found in (_hold(patient), await _retention(unit, patient)) if found]
    if reasons:
        raise Conflict("Clinical records may not be erased yet.", reasons=reasons)


def _hold(patient: Document) -> dict[str, str] | None:
    if not model.held(patient):
        return None
    detail = "A legal hold runs: clinical records are kept until it is lifted; contact data can be erased now."
    return {"code": "legal_hold", "detail": detail}


async def _retention(unit: UnitOfWork, patient: Document) -> dict[str, str] | None:
    plans = await unit.collection(PLANS).find({"patient_id": patient["_id"]})
    last: datetime | None = max((plan["updated_at"] for plan in plans if plan["state"] != "draft"), default=None)
    if last is None or unit.clock.clinical_now() >= last + RETENTION:
        return None
    return {
        "code": "retention",
        "detail": "Clinical records are kept until their retention has passed; contact data can be erased now.",
        "earliest_at": rfc3339(last + RETENTION),
    }


async def _forget(unit: UnitOfWork, deps: Deps, subject_id: str, version: int) -> None:
    """Key, rows that wait to be sent, stored answers; then the tombstone and the timer that keeps the partition moving."""
    await deps.vault.shred(unit, subject_id)
    await forget_rows(unit, subject_id)
    await forget_answers(unit, subject_id)
    _tombstone(unit, subject_id, version)
    await _roll_later(unit, subject_id, version, ROLLS)


async def _forget_first_contact(unit: UnitOfWork, deps: Deps, inquiry_id: str | None) -> None:
    """The inquiry that the patient came by: its record lies in the topic until its partition is compacted too."""
    inquiry = await unit.collection(INQUIRIES).find_one({"_id": inquiry_id}) if inquiry_id else None
    if inquiry is not None:
        await _forget(unit, deps, inquiry["_id"], inquiry["version"])


def _tombstone(unit: UnitOfWork, subject_id: str, version: int) -> None:
    emit_tombstone(unit, ContactRecord, subject_id, aggregate=f"contact/{subject_id}", version=version)


async def roll(unit: UnitOfWork, payload: Document) -> None:
    """A quiet partition is never compacted by itself: the tombstone again, hourly for a day."""
    _tombstone(unit, payload["subject_id"], payload["version"])
    await _roll_later(unit, payload["subject_id"], payload["version"], payload["left"] - 1)


async def _roll_later(unit: UnitOfWork, subject_id: str, version: int, left: int) -> None:
    if left > 0:
        payload = {"subject_id": subject_id, "version": version, "left": left}
        due = unit.clock.system_now() + ROLL_EVERY
        await set_timer(unit, "roll_partition", f"roll:{subject_id}", due, payload, clock="system")
