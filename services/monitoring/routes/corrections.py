"""Corrections: new entries that name what they correct, and entries that were another patient's."""

from fastapi import APIRouter, Response

from services.monitoring import schemas_entries as bodies
from services.monitoring.routes.edge import SESSION, Clinical, deps, write_entry
from services.monitoring.usecases import correcting_entries as correcting
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["entries"])
ENTRY = f"{SESSION}/entries/{{entry_id}}"


@router.post(f"{ENTRY}/correct", status_code=201, response_model=bodies.EntryShown, responses=problems(404, 409))
async def correct_entry(session_id: Id, entry_id: Id, body: bodies.Correction, call: Clinical) -> Response:
    """Say how it was; the entry itself stays."""
    return await write_entry(call, lambda unit: correcting.correct(unit, deps(call), session_id, entry_id, body))


@router.post(f"{ENTRY}/move", status_code=201, response_model=bodies.EntryShown, responses=problems(404, 409))
async def move_entry(session_id: Id, entry_id: Id, body: bodies.MoveEntry, call: Clinical) -> Response:
    """It was another patient's; the answer is the entry in that patient's session."""
    return await write_entry(call, lambda unit: correcting.move(unit, deps(call), session_id, entry_id, body))
