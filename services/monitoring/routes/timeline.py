"""The timeline of a session."""

from fastapi import APIRouter, Response

from services.monitoring import schemas_entries as bodies
from services.monitoring.routes.edge import SESSION, Clinical, deps, show_entry
from services.monitoring.store import ENTRIES
from services.monitoring.usecases import emergency, entries
from shared.persistence.mongo import UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["entries"])
LISTED = Listed(bodies.EntryShown, "kind")


@router.get(
    f"{SESSION}/timeline",
    response_model=Listing[bodies.EntryShown],
    responses=problems(404),
    openapi_extra=LISTED.parameters,
)
async def get_timeline(session_id: Id, call: Clinical) -> Response:
    """Everything of a session in one feed, in the order of recording: what is recorded late comes last, with its own time.

    Of a group what was of nobody alone: its emergencies.
    """
    page = call.page(LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        session = await emergency.of_any(unit, session_id, "timeline")
        mine = {"session_id": session_id}
        reply = await page.of(unit, ENTRIES, mine, show_entry, times=("recorded_at", "recorded_at"))
        if isinstance(reply.body, Listing):
            await entries.open_notes(unit, deps(call), session, reply.body.items)
            await entries.note_corrections(unit, session_id, reply.body.items)
        return reply

    return await call.write(work)
