"""Treatment plans. Every change asks for If-Match; nurses may pause, a prescriber decides the rest."""

from fastapi import APIRouter, Response

from services.intake import schemas
from services.intake.model import review_codes
from services.intake.routes.edge import (
    PATIENT,
    Clinical,
    Prescriber,
    StaffOrSelf,
    change,
    read_of_patient,
    shown,
)
from services.intake.store import PLANS
from services.intake.usecases import plans
from shared.errors import NotFound
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Call, Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["plans"])
LISTED = Listed(schemas.Plan, "state", "route")
PLAN = "/v1/plans/{plan_id}"


def show_plan(row: Document) -> schemas.Plan:
    done, reason = len(row["session_ids"]), row.get("reason_code")
    told = {"id": row["_id"], "sessions_done": done, "reason_code": reason, "review_codes": review_codes(row)}
    return shown(schemas.Plan, row, **told)


@router.post(f"{PATIENT}/plans", status_code=201, response_model=schemas.Plan, responses=problems(404))
async def draft_plan(patient_id: Id, body: schemas.NewPlan, call: Clinical) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await plans.draft_plan(unit, call.deps, patient_id, body)
        return Reply(show_plan(row), 201, location=f"/v1/plans/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    f"{PATIENT}/plans", response_model=Listing[schemas.Plan], responses=problems(404), openapi_extra=LISTED.parameters
)
async def list_plans(patient_id: Id, call: StaffOrSelf) -> Response:
    page = call.page(LISTED)
    mine = {"patient_id": patient_id}
    return await read_of_patient(call, patient_id, "plans", lambda unit: page.of(unit, PLANS, mine, show_plan))


@router.get(PLAN, response_model=schemas.Plan, responses=problems(404))
async def get_plan(plan_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(PLANS).get(plan_id)
        if not call.only_self(row["patient_id"]):
            raise NotFound
        audit(unit, "plan.read", f"plan/{plan_id}", patient_id=row["patient_id"])
        return Reply(show_plan(row), version=row["version"])

    return await call.write(work)


async def _move(call: Call, plan_id: str, verb: str, reason_code: str | None = None) -> Response:
    expected = call.expected_version()
    return await change(call, lambda unit: plans.move_plan(unit, plan_id, verb, expected, reason_code), show_plan)


@router.post(f"{PLAN}/activate", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def activate_plan(plan_id: Id, call: Prescriber) -> Response:
    return await _move(call, plan_id, "activate")


@router.post(f"{PLAN}/revise", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def revise_plan(plan_id: Id, body: schemas.PlanRevision, call: Prescriber) -> Response:
    """Dose, number of sessions, integration; answers what was open for review."""
    expected = call.expected_version()
    return await change(call, lambda unit: plans.revise_plan(unit, call.deps, plan_id, expected, body), show_plan)


@router.post(f"{PLAN}/pause", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def pause_plan(plan_id: Id, body: schemas.Reason, call: Clinical) -> Response:
    """Hold the dosing."""
    return await _move(call, plan_id, "pause", body.reason_code)


@router.post(f"{PLAN}/resume", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def resume_plan(plan_id: Id, body: schemas.Reason, call: Prescriber) -> Response:
    """Go on with the dosing; answers what was open for review."""
    return await _move(call, plan_id, "resume", body.reason_code)


@router.post(f"{PLAN}/discontinue", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def discontinue_plan(plan_id: Id, body: schemas.Reason, call: Prescriber) -> Response:
    """End the plan for good."""
    return await _move(call, plan_id, "discontinue", body.reason_code)
