"""Load, decide, save, emit. Nothing here commits: the edge does."""

from base64 import b64encode
from dataclasses import dataclass

from services.intake import model, schemas
from services.intake.model import PlanProtocol
from services.intake.store import INQUIRIES, PATIENTS, PLANS
from shared.errors import VersionConflict
from shared.events.intake import (
    ContactRecord,
    InquiryErased,
    InquiryReceived,
    PatientRegistered,
    PlanState,
    TreatmentPlanActivated,
    TreatmentPlanCompleted,
    TreatmentPlanDiscontinued,
    TreatmentPlanPaused,
    TreatmentPlanResumed,
)
from shared.events.monitoring import SessionCompleted
from shared.ids import new_id
from shared.messaging.outbox import emit, emit_tombstone
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.vault import TransportCipher, Vault


@dataclass(frozen=True)
class Deps:
    vault: Vault
    transport: TransportCipher
    protocol: PlanProtocol
    publishable_keys: dict[str, str]


async def receive_inquiry(unit: UnitOfWork, deps: Deps, body: schemas.NewInquiry) -> Document:
    now, identifier = unit.clock.clinical_now(), new_id()
    contact = body.contact.model_dump()
    sealed = await deps.vault.encrypt(unit, identifier, contact)
    inquiry = as_document(identifier, now, channel=body.channel, state="open", patient_id=None, contact=sealed)
    await unit.collection(INQUIRIES).insert(inquiry)
    _publish_contact(unit, deps, identifier, 1, contact)
    event = InquiryReceived(inquiry_id=identifier, channel=body.channel, self_referred=body.self_referred)
    emit(unit, event, aggregate=f"inquiry/{identifier}", version=1)
    audit(unit, "inquiry.receive", f"inquiry/{identifier}")
    return inquiry


async def convert_inquiry(unit: UnitOfWork, deps: Deps, inquiry_id: str, body: schemas.Conversion) -> Document:
    """The patient's contact record is written before the inquiry's tombstone. Raises NotFound, Conflict."""
    now, patient_id = unit.clock.clinical_now(), new_id()
    inquiry = await unit.collection(INQUIRIES).get(inquiry_id)
    after = model.convert(inquiry, patient_id, now)
    contact = await deps.vault.decrypt(unit, inquiry_id, inquiry["contact"])
    sealed = await deps.vault.encrypt(unit, patient_id, contact)
    fields = {"inquiry_id": inquiry_id, "birth_year": body.birth_year, "time_zone": body.time_zone, "contact": sealed}
    patient = as_document(patient_id, now, **fields)
    await unit.collection(PATIENTS).insert(patient)
    await unit.collection(INQUIRIES).replace_versioned(after)
    _publish_contact(unit, deps, patient_id, 1, contact)
    tombstone = f"contact/{inquiry_id}"
    emit_tombstone(unit, ContactRecord, inquiry_id, aggregate=tombstone, version=after["version"])
    await deps.vault.shred(unit, inquiry_id)
    event = PatientRegistered(
        patient_id=patient_id, inquiry_id=inquiry_id, birth_year=body.birth_year, time_zone=body.time_zone
    )
    emit(unit, event, aggregate=f"patient/{patient_id}", version=1)
    audit(unit, "inquiry.convert", f"inquiry/{inquiry_id}", patient_id=patient_id)
    return patient


async def erase_inquiry(unit: UnitOfWork, deps: Deps, inquiry_id: str, reason_code: str) -> Document:
    """Destroy the key, write the tombstone, drop what waits to be sent about the person. Raises NotFound, Conflict."""
    inquiry = await unit.collection(INQUIRIES).get(inquiry_id)
    after = model.erase(inquiry, unit.clock.clinical_now())
    await unit.collection(INQUIRIES).replace_versioned(after)
    await deps.vault.shred(unit, inquiry_id)
    await unit.plumbing("outbox").delete({"aggregate": f"contact/{inquiry_id}"})
    emit_tombstone(unit, ContactRecord, inquiry_id, aggregate=f"contact/{inquiry_id}", version=after["version"])
    emit(unit, InquiryErased(inquiry_id=inquiry_id), aggregate=f"inquiry/{inquiry_id}", version=after["version"])
    audit(unit, f"inquiry.erase.{reason_code}", f"inquiry/{inquiry_id}")
    return after


async def draft_plan(unit: UnitOfWork, deps: Deps, patient_id: str, body: schemas.NewPlan) -> Document:
    """Raises NotFound, and Invalid for a dose above the ceiling."""
    await unit.collection(PATIENTS).get(patient_id)
    template = model.template_for(deps.protocol, body.route, body.dose_mg_per_kg)
    plan = as_document(
        new_id(),
        unit.clock.clinical_now(),
        patient_id=patient_id,
        state="draft",
        session_ids=[],
        medication=template.medication,
        min_gap_hours=template.min_gap_hours,
        protocol_version=deps.protocol.version,
        **body.model_dump(),
    )
    await unit.collection(PLANS).insert(plan)
    audit(unit, "plan.draft", f"plan/{plan['_id']}", patient_id=patient_id)
    return plan


async def activate_plan(unit: UnitOfWork, plan_id: str, expected_version: int) -> Document:
    """Raises NotFound, PreconditionFailed, Conflict."""
    plan = await unit.collection(PLANS).get(plan_id)
    after = model.activate(plan | {"version": expected_version}, unit.clock.clinical_now())
    await unit.collection(PLANS).replace_versioned(after)
    event = TreatmentPlanActivated(plan_id=plan_id, **{name: after[name] for name in _PLAN_FIELDS})
    emit(unit, event, aggregate=f"plan/{plan_id}", version=after["version"])
    audit(unit, "plan.activate", f"plan/{plan_id}", patient_id=after["patient_id"])
    return after


_MOVED: dict[str, type[TreatmentPlanActivated]] = {
    "pause": TreatmentPlanPaused,
    "resume": TreatmentPlanResumed,
    "discontinue": TreatmentPlanDiscontinued,
}


async def move_plan(
    unit: UnitOfWork, plan_id: str, verb: str, expected: int | None, reason_code: str | None
) -> Document:
    """Pause, resume or discontinue; `expected` is None where an event and no person decides.

    Raises NotFound, PreconditionFailed, Conflict.
    """
    plan = await unit.collection(PLANS).get(plan_id)
    if expected is not None and expected != plan["version"]:
        raise VersionConflict
    after = model.move_plan(plan, verb, unit.clock.clinical_now())
    await unit.collection(PLANS).replace_versioned(after)
    fields: Document = {name: after[name] for name in _PLAN_FIELDS} | {"plan_id": plan_id}
    if verb != "resume":
        fields["reason_code"] = reason_code or "unspecified"
    emit(unit, _MOVED[verb].model_validate(fields), aggregate=f"plan/{plan_id}", version=after["version"])
    audit(unit, f"plan.{verb}", f"plan/{plan_id}", patient_id=after["patient_id"])
    return after


async def pause_for_safety(unit: UnitOfWork, patient_id: str, reason_code: str) -> int:
    """A serious adverse event pauses every active plan of the patient; returns how many."""
    rows = await unit.collection(PLANS).find({"patient_id": patient_id, "state": "active"})
    for row in rows:
        await move_plan(unit, row["_id"], "pause", None, reason_code)
    return len(rows)


def plan_state(plan: Document) -> PlanState:
    fields = {name: plan[name] for name in _PLAN_FIELDS}
    return PlanState(plan_id=plan["_id"], state=plan["state"], sessions_done=len(plan["session_ids"]), **fields)


_PLAN_FIELDS = [
    "patient_id",
    "route",
    "medication",
    "dose_mg_per_kg",
    "session_count",
    "min_gap_hours",
    "integration_after",
    "protocol_version",
    "version",
]


async def count_session(unit: UnitOfWork, event: SessionCompleted) -> bool:
    """One more dosing session of the plan; False when there is nothing to count."""
    plan = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    after = model.count_session(plan, event.session_id, unit.clock.clinical_now()) if plan else None
    if after is None:
        return False
    await unit.collection(PLANS).replace_versioned(after)
    if after["state"] == "completed":
        done = TreatmentPlanCompleted(
            patient_id=after["patient_id"], plan_id=after["_id"], sessions_done=len(after["session_ids"])
        )
        emit(unit, done, aggregate=f"plan/{after['_id']}", version=after["version"])
    return True


def _publish_contact(unit: UnitOfWork, deps: Deps, subject_id: str, version: int, contact: Document) -> None:
    sealed = b64encode(deps.transport.encrypt(subject_id, contact)).decode()
    record = ContactRecord(subject_id=subject_id, version=version, sealed=sealed, at=unit.clock.system_now())
    emit(unit, record, aggregate=f"contact/{subject_id}", version=version, key=subject_id)
