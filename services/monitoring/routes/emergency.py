"""The emergency: one call from any state, its log and its end."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring.routes.edge import SESSION, Clinical, add_entry, write_entry
from services.monitoring.usecases import ending
from shared.persistence.mongo import UnitOfWork
from shared.web.call import Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["emergency"])


@router.post(f"{SESSION}/emergency", status_code=201, response_model=schemas.EmergencyCall, responses=problems(404))
@nurse_route
async def call_emergency(session_id: Id, body: schemas.Emergency, call: Clinical) -> Response:
    """All staff at once, from any state."""

    async def work(unit: UnitOfWork) -> Reply:
        entry = await ending.call_emergency(unit, session_id, body)
        shown = schemas.EmergencyCall(entry_id=entry["_id"], code_clock_started_at=entry["occurred_at"])
        return Reply(shown, 201)

    return await call.write(work)


@router.post(f"{SESSION}/emergency/log", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def log_emergency(session_id: Id, body: schemas.Entry, call: Clinical) -> Response:
    """One line of the code log."""
    return await add_entry(call, session_id, "emergency_log", body)


@router.post(f"{SESSION}/emergency/end", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def end_emergency(session_id: Id, body: schemas.Moment, call: Clinical) -> Response:
    """The emergency is over."""
    return await write_entry(call, lambda unit: ending.end_emergency(unit, session_id, body))
