"""The session's states: from opening to the dose."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring import schemas_session as bodies
from services.monitoring.routes.edge import (
    SESSION,
    Clinical,
    Overriding,
    Prescribing,
    Staff,
    change_session,
    deps,
    show_group,
    show_session,
)
from services.monitoring.store import SESSIONS
from services.monitoring.usecases import baseline, dosing, entries, gating, participants, sessions
from shared.errors import Conflict
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import CLINICAL
from shared.web.call import Listed, Listing, Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["sessions"])
LISTED = Listed(schemas.Session, "patient_id", "appointment_id", "group_id", "kind", "state")
Shown = schemas.Session | bodies.Group


@router.post("/v1/sessions", status_code=201, response_model=Shown, responses=problems())
async def open_session(body: schemas.NewSession, call: Clinical) -> Response:
    """Open a session that was not booked, or a group for participants to join."""

    async def work(unit: UnitOfWork) -> Reply:
        if body.patient_id is None:
            group = await participants.open_group(unit, body)
            return Reply(show_group(group, []), 201, location=f"/v1/sessions/{group['_id']}", version=1)
        row = await sessions.open_unscheduled(unit, deps(call), body)
        return Reply(show_session(row), 201, location=f"/v1/sessions/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    "/v1/sessions", response_model=Listing[schemas.Session], responses=problems(), openapi_extra=LISTED.parameters
)
async def list_sessions(call: Staff) -> Response:
    """List sessions, newest first."""
    page = call.page(LISTED)
    return await call.read(lambda reader: page.of(reader, SESSIONS, {}, show_session), audited="sessions")


@router.get(SESSION, response_model=Shown, responses=problems(404))
async def get_session(session_id: Id, call: Staff) -> Response:
    """One session, or a group with its participants."""

    async def work(unit: UnitOfWork) -> Reply:
        group = await participants.group(unit, session_id)
        if group is not None:
            return Reply(show_group(group, await participants.members(unit, session_id)), version=group["version"])
        row = await sessions.load(unit, session_id, "read")
        clinical = unit.scope.actor.role in CLINICAL
        intention = await entries.intention(unit, deps(call), row) if clinical else None
        return Reply(show_session(row, intention), version=row["version"])

    return await call.write(work)


@router.post(f"{SESSION}/check-in", response_model=schemas.Session, responses=problems(404, 409))
async def check_in(session_id: Id, body: schemas.CheckIn, call: Clinical) -> Response:
    """Identity confirmed, place, people and readiness."""
    return await change_session(call, lambda unit: sessions.check_in(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/assignments", response_model=schemas.Session, responses=problems(404, 409))
async def reassign(session_id: Id, body: schemas.Assignment, call: Clinical) -> Response:
    """Another room, chair or responsible person."""
    return await change_session(call, lambda unit: sessions.reassign(unit, session_id, body))


@router.post(f"{SESSION}/baseline", response_model=schemas.Session, responses=problems(404, 409))
async def take_baseline(session_id: Id, body: schemas.Baseline, call: Clinical) -> Response:
    """Vital signs and weight before the dose."""
    return await change_session(call, lambda unit: baseline.take(unit, deps(call), session_id, body))


@router.get(f"{SESSION}/gate", response_model=schemas.GateShown, responses=problems(404, 409))
async def get_gate(session_id: Id, call: Clinical) -> Response:
    """Every reason against a dose now, each with its class; 409 for a kind of session without a dose."""

    async def work(unit: UnitOfWork) -> Reply:
        session = await sessions.load(unit, session_id, "gate")
        found = await gating.judge(unit, deps(call), session)
        shown = [schemas.GateReason(code=item.code, kind=item.kind, detail=item.detail) for item in found.reasons]
        known = {"overridden": sorted(found.overridden), "as_of": found.as_of, "expires_at": found.expires_at}
        return Reply(schemas.GateShown(open=not found.closing, reasons=shown, **known))

    return await call.write(work)


@router.post(f"{SESSION}/gate/open", response_model=schemas.Session, responses=problems(404, 409))
async def open_gate(session_id: Id, body: bodies.GateOpening, call: Prescribing) -> Response:
    """Open the gate where nothing is against a dose; it closes by itself, and the dose is judged again."""
    return await change_session(call, lambda unit: gating.open_gate(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/gate/override", response_model=schemas.Session, responses=problems(404, 409))
async def override_gate(session_id: Id, body: bodies.Override, call: Overriding) -> Response:
    """Go on against what is overridable, with a reason; holds as long as the gate is valid."""
    return await change_session(call, lambda unit: gating.override(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/dose", response_model=schemas.Session, responses=problems(403, 404, 409))
async def give_dose(session_id: Id, body: schemas.Dose, call: Prescribing) -> Response:
    """Give a dose; the gate is judged at this moment."""

    async def change(unit: UnitOfWork) -> Document:
        return await dosing.give(unit, deps(call), session_id, body)

    try:
        return await change_session(call, change)
    except Conflict as refused:
        codes = [reason["code"] for reason in refused.reasons]
        await call.runtime.mongo.run(call.scope, lambda unit: dosing.note_refusal(unit, session_id, codes))
        raise


@router.post(f"{SESSION}/dose/rate", response_model=schemas.Session, responses=problems(404, 409))
async def change_rate(session_id: Id, body: schemas.Infusion, call: Prescribing) -> Response:
    """Change the rate of the infusion."""
    return await change_session(call, lambda unit: dosing.change_infusion(unit, session_id, "rate", body))


@router.post(f"{SESSION}/dose/pause", response_model=schemas.Session, responses=problems(404))
@nurse_route
async def pause_dose(session_id: Id, body: schemas.Infusion, call: Clinical) -> Response:
    """Pause the infusion; always accepted."""
    return await change_session(call, lambda unit: dosing.change_infusion(unit, session_id, "pause", body))


@router.post(f"{SESSION}/dose/resume", response_model=schemas.Session, responses=problems(404, 409))
async def resume_dose(session_id: Id, body: schemas.Infusion, call: Prescribing) -> Response:
    """Resume the infusion."""
    return await change_session(call, lambda unit: dosing.change_infusion(unit, session_id, "resume", body))


@router.post(f"{SESSION}/dose/stop", response_model=schemas.Session, responses=problems(404))
@nurse_route
async def stop_dose(session_id: Id, body: schemas.Infusion, call: Clinical) -> Response:
    """Stop the dose; always accepted. Recovery begins. Told again for later, that is when it ended."""
    return await change_session(call, lambda unit: dosing.change_infusion(unit, session_id, "stop", body))
