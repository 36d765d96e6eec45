"""What people write down during a session, the emergency, and the timeline of it all."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring.routes.edge import SESSION, Clinical, deps, show_entry
from services.monitoring.store import ENTRIES
from services.monitoring.usecases import ending, entries, scoring, sessions
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Call, Listed, Listing, Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["entries"])
LISTED = Listed(schemas.EntryShown, "kind")


async def _write(call: Call, work: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    async def whole(unit: UnitOfWork) -> Reply:
        return Reply(show_entry(await work(unit)), 201)

    return await call.write(whole)


async def _add(call: Call, session_id: str, kind: str, body: schemas.Entry) -> Response:
    return await _write(call, lambda unit: entries.add(unit, deps(call), session_id, kind, body))


@router.post(f"{SESSION}/observations", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def add_observation(session_id: Id, body: schemas.Observation, call: Clinical) -> Response:
    """A scale or a finding."""

    async def work(unit: UnitOfWork) -> Document:
        entry = await entries.add(unit, deps(call), session_id, "observation", body)
        await scoring.noted(unit, deps(call), entry)
        return entry

    return await _write(call, work)


@router.post(f"{SESSION}/interventions", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def add_intervention(session_id: Id, body: schemas.Intervention, call: Clinical) -> Response:
    """Something that was done for the patient."""
    return await _add(call, session_id, "intervention", body)


@router.post(f"{SESSION}/adverse-events", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def add_adverse_event(session_id: Id, body: schemas.AdverseEvent, call: Clinical) -> Response:
    """Something untoward that happened."""
    return await _add(call, session_id, "adverse_event", body)


@router.post(f"{SESSION}/support", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
async def add_support(session_id: Id, body: schemas.Support, call: Clinical) -> Response:
    """Support given."""
    return await _add(call, session_id, "support", body)


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
    return await _add(call, session_id, "emergency_log", body)


@router.post(f"{SESSION}/emergency/end", status_code=201, response_model=schemas.EntryShown, responses=problems(404))
@nurse_route
async def end_emergency(session_id: Id, body: schemas.Moment, call: Clinical) -> Response:
    """The emergency is over."""
    return await _write(call, lambda unit: ending.end_emergency(unit, session_id, body))


@router.get(
    f"{SESSION}/timeline",
    response_model=Listing[schemas.EntryShown],
    responses=problems(404),
    openapi_extra=LISTED.parameters,
)
async def get_timeline(session_id: Id, call: Clinical) -> Response:
    """Everything of a session in one feed, newest first."""
    page = call.page(LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        session = await sessions.load(unit, session_id, "timeline")
        mine = {"session_id": session_id}
        reply = await page.of(unit, ENTRIES, mine, show_entry, times=("recorded_at", "recorded_at"))
        if isinstance(reply.body, Listing):
            await entries.open_notes(unit, deps(call), session, reply.body.items)
        return reply

    return await call.write(work)
