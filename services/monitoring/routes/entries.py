"""What people write down during a session."""

from fastapi import APIRouter, Response

from services.monitoring import schemas_entries as bodies
from services.monitoring.routes.edge import SESSION, Clinical, add_entry, deps, write_entry
from services.monitoring.usecases import entries, scoring
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["entries"])


@router.post(f"{SESSION}/observations", status_code=201, response_model=bodies.EntryShown, responses=problems(404))
@nurse_route
async def add_observation(session_id: Id, body: bodies.Observation, call: Clinical) -> Response:
    """A scale or a finding."""

    async def work(unit: UnitOfWork) -> Document:
        entry = await entries.add(unit, deps(call), session_id, "observation", body)
        await scoring.noted(unit, deps(call), entry)
        return entry

    return await write_entry(call, work)


@router.post(f"{SESSION}/interventions", status_code=201, response_model=bodies.EntryShown, responses=problems(404))
@nurse_route
async def add_intervention(session_id: Id, body: bodies.Intervention, call: Clinical) -> Response:
    """Something that was done for the patient."""
    return await add_entry(call, session_id, "intervention", body)


@router.post(f"{SESSION}/adverse-events", status_code=201, response_model=bodies.EntryShown, responses=problems(404))
@nurse_route
async def add_adverse_event(session_id: Id, body: bodies.AdverseEvent, call: Clinical) -> Response:
    """Something untoward that happened."""
    return await add_entry(call, session_id, "adverse_event", body)


@router.post(f"{SESSION}/support", status_code=201, response_model=bodies.EntryShown, responses=problems(404))
async def add_support(session_id: Id, body: bodies.Support, call: Clinical) -> Response:
    """Support given."""
    return await add_entry(call, session_id, "support", body)
