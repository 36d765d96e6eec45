"""The emergency: one call from any state, its log and its end."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.routes.edge import SESSION, Clinical, deps, show_entry, write_entry
from services.monitoring.usecases import emergency
from shared.persistence.mongo import UnitOfWork
from shared.web.call import Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["emergency"])


def _prompt(called: bool) -> bodies.Prompt | None:
    return None if called else "Call the ambulance now."


@router.post(f"{SESSION}/emergency", status_code=201, response_model=bodies.EmergencyCall, responses=problems(404))
@nurse_route
async def call_emergency(session_id: Id, body: bodies.Emergency, call: Clinical) -> Response:
    """All staff at once, from any state, for a whole group too; the code clock runs from the first call on."""

    async def work(unit: UnitOfWork) -> Reply:
        entry, since, called = await emergency.call(unit, session_id, body)
        shown = bodies.EmergencyCall(entry_id=entry["_id"], code_clock_started_at=since, prompt=_prompt(called))
        return Reply(shown, 201)

    return await call.write(work)


@router.post(
    f"{SESSION}/emergency/log", status_code=201, response_model=bodies.EmergencyLogged, responses=problems(404)
)
@nurse_route
async def log_emergency(session_id: Id, body: bodies.EmergencyLine, call: Clinical) -> Response:
    """One line of the code log, with its second on the code clock."""

    async def work(unit: UnitOfWork) -> Reply:
        entry, called = await emergency.log(unit, deps(call), session_id, body)
        return Reply(bodies.EmergencyLogged(prompt=_prompt(called), **show_entry(entry).model_dump()), 201)

    return await call.write(work)


@router.post(f"{SESSION}/emergency/end", status_code=201, response_model=bodies.EntryShown, responses=problems(404))
@nurse_route
async def end_emergency(session_id: Id, body: schemas.Moment, call: Clinical) -> Response:
    """The emergency is over."""
    return await write_entry(call, lambda unit: emergency.end(unit, session_id, body))
