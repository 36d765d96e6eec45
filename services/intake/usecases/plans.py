"""Treatment plans: what a prescriber decides, and what sessions do to them."""

from collections.abc import Mapping

from services.intake import model, schemas
from services.intake.facts import plan_facts
from services.intake.store import PATIENTS, PLANS
from services.intake.usecases.deps import Deps
from shared.events.envelope import Event
from shared.events.intake import (
    PlanState,
    ReviewCode,
    TreatmentPlanActivated,
    TreatmentPlanCompleted,
    TreatmentPlanDiscontinued,
    TreatmentPlanPaused,
    TreatmentPlanResumed,
    TreatmentPlanRevised,
)
from shared.events.monitoring import AdverseEventReported, SessionAborted, SessionCompleted
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document

_TOLD: Mapping[str, type[Event]] = {
    "activate": TreatmentPlanActivated,
    "revise": TreatmentPlanRevised,
    "pause": TreatmentPlanPaused,
    "resume": TreatmentPlanResumed,
    "discontinue": TreatmentPlanDiscontinued,
}


async def draft_plan(unit: UnitOfWork, deps: Deps, patient_id: str, body: schemas.NewPlan) -> Document:
    """Raises NotFound, and Invalid for a dose above the ceiling."""
    await unit.collection(PATIENTS).get(patient_id)
    template = model.template_for(deps.plans, body.route, body.dose_mg_per_kg)
    plan = as_document(
        new_id(),
        unit.clock.clinical_now(),
        patient_id=patient_id,
        state="draft",
        reason_code=None,
        reviews=[],
        session_ids=[],
        medication=template.medication,
        min_gap_hours=template.min_gap_hours,
        protocol_version=deps.plans.version,
        **body.model_dump(),
    )
    await unit.collection(PLANS).insert(plan)
    audit(unit, "plan.draft", f"plan/{plan['_id']}", patient_id=patient_id)
    return plan


async def move_plan(unit: UnitOfWork, plan_id: str, verb: str, expected: int, reason_code: str | None) -> Document:
    """Activate, pause, resume or discontinue. Raises NotFound, PreconditionFailed, Conflict."""
    plan = model.at_version(await unit.collection(PLANS).get(plan_id), expected)
    return await _save(unit, model.move_plan(plan, verb, unit.clock.clinical_now(), reason_code), verb)


async def revise_plan(
    unit: UnitOfWork, deps: Deps, plan_id: str, expected: int, body: schemas.PlanRevision
) -> Document:
    """Raises NotFound, PreconditionFailed, Conflict, and Invalid as for a new plan."""
    plan = model.at_version(await unit.collection(PLANS).get(plan_id), expected)
    wanted = body.model_dump(exclude={"reason_code"}, exclude_none=True)
    model.template_for(deps.plans, plan["route"], body.dose_mg_per_kg or plan["dose_mg_per_kg"])
    after = model.revise_plan(plan, wanted, unit.clock.clinical_now(), body.reason_code)
    return await _save(unit, after, "revise")


async def _save(unit: UnitOfWork, after: Document, verb: str) -> Document:
    """Nobody outside knows a draft, so its revision is not told."""
    await unit.collection(PLANS).replace_versioned(after)
    if after["state"] != "draft":
        _tell(unit, _TOLD[verb], after)
    audit(unit, f"plan.{verb}", f"plan/{after['_id']}", patient_id=after["patient_id"])
    return after


async def count_session(unit: UnitOfWork, event: SessionCompleted) -> bool:
    """One more dosing session of the plan; False when there is nothing to count."""
    plan = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    after = model.count_session(plan, event.session_id, unit.clock.clinical_now()) if plan else None
    if plan is None or after is None:
        return False
    await unit.collection(PLANS).replace_versioned(after)
    ended = after["state"] == "completed" and plan["state"] != "completed"
    _tell(unit, TreatmentPlanCompleted if ended else PlanState, after)
    return True


async def review_after_event(unit: UnitOfWork, event: AdverseEventReported) -> bool:
    """A serious adverse event pauses every active plan of the patient, and is a finding on the plan of its session.

    False when all of that is known already.
    """
    mine = [{"state": {"$in": ["active", "paused"]}}, {"session_ids": event.session_id}]
    rows = await unit.collection(PLANS).find({"patient_id": event.patient_id, "$or": mine})
    cause = f"{event.session_id}:{event.event_code}:{event.onset_at.isoformat()}"
    noted = [await _note(unit, row, "serious_adverse_event", cause, pause=True) for row in rows]
    return any(noted)


async def review_after_abort(unit: UnitOfWork, event: SessionAborted) -> bool:
    """False when the plan is not known here, or the finding is."""
    plan = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    return plan is not None and await _note(unit, plan, "session_aborted", event.session_id, pause=False)


async def _note(unit: UnitOfWork, plan: Document, code: ReviewCode, cause: str, *, pause: bool) -> bool:
    after = model.note_review(plan, code, cause, unit.clock.clinical_now(), pause=pause)
    if after is None:
        return False
    await unit.collection(PLANS).replace_versioned(after)
    paused = after["state"] != plan["state"]
    _tell(unit, TreatmentPlanPaused if paused else PlanState, after)
    audit(unit, f"plan.review.{code}", f"plan/{after['_id']}", patient_id=after["patient_id"])
    return True


def _tell(unit: UnitOfWork, kind: type[Event], plan: Document) -> None:
    event = kind.model_validate(plan_facts(plan))
    emit(unit, event, aggregate=f"plan/{plan['_id']}", version=plan["version"])
