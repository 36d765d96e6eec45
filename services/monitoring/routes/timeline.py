"""The timeline of a session."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring.routes.edge import SESSION, Clinical, deps, show_entry
from services.monitoring.store import ENTRIES
from services.monitoring.usecases import entries, sessions
from shared.persistence.mongo import UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["entries"])
LISTED = Listed(schemas.EntryShown, "kind")


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
