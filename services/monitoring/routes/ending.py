"""Every way out of a session: discharge through its gate, leave, abort, void, and the completion of the record."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.routes.edge import SESSION, Clinical, change_session, deps
from services.monitoring.usecases import discharging, ending
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["sessions"])


@router.post(f"{SESSION}/discharge", response_model=schemas.Session, responses=problems(403, 404, 409))
async def discharge(session_id: Id, body: bodies.Discharge, call: Clinical) -> Response:
    """Discharge with an escort; refused with every criterion that is not met."""
    return await change_session(call, lambda unit: discharging.discharge(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/leave", response_model=schemas.Session, responses=problems(404))
@nurse_route
async def leave(session_id: Id, body: bodies.Leave, call: Clinical) -> Response:
    """Every other way out; always open."""
    return await change_session(call, lambda unit: ending.leave(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/abort", response_model=schemas.Session, responses=problems(404))
@nurse_route
async def abort(session_id: Id, body: schemas.Abort, call: Clinical) -> Response:
    """Abort; after a dose the watching goes on."""
    return await change_session(call, lambda unit: ending.abort(unit, session_id, body))


@router.post(f"{SESSION}/void", response_model=schemas.Session, responses=problems(404, 409))
async def void(session_id: Id, body: schemas.Abort, call: Clinical) -> Response:
    """Opened or checked in by mistake; only before a dose. A visit that is booked gets another session."""
    return await change_session(call, lambda unit: ending.void(unit, deps(call), session_id, body))


@router.post(f"{SESSION}/complete", response_model=schemas.Session, responses=problems(404, 409))
async def complete(session_id: Id, call: Clinical, body: schemas.Moment | None = None) -> Response:
    """The record is finished."""
    told = body.occurred_at if body else None
    return await change_session(call, lambda unit: ending.complete(unit, session_id, told))
