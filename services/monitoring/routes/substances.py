"""Controlled substances: waste, and the log of a day."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.monitoring import schemas_session as bodies
from services.monitoring.routes.edge import SESSION, Clinical, show_entry
from services.monitoring.schemas_entries import EntryShown
from services.monitoring.usecases import substances
from shared.errors import NotFound
from shared.persistence.mongo import UnitOfWork
from shared.web.call import Reply
from shared.web.problems import problems
from shared.web.schemas import YEARS, Id, ShortText

router = APIRouter(tags=["substances"])
FIRST, LAST = date(YEARS.start, 1, 1), date(YEARS.stop - 1, 12, 31)


@router.post(f"{SESSION}/waste", status_code=201, response_model=EntryShown, responses=problems(404, 409))
async def add_waste(session_id: Id, body: bodies.Waste, call: Clinical) -> Response:
    """What was drawn up and not given, seen by a witness."""

    async def work(unit: UnitOfWork) -> Reply:
        return Reply(show_entry(await substances.waste(unit, session_id, body)), 201)

    return await call.write(work)


@router.get(
    "/v1/controlled-substances.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **problems(404)},
)
async def get_log(
    call: Clinical, day: Annotated[date | None, Query(ge=FIRST, le=LAST)] = None, clinic: ShortText | None = None
) -> Response:
    """Doses and waste of a day in the clinic's time zone; of today, if none is named."""
    if clinic not in (None, call.scope.clinic_id):
        raise NotFound
    text = await call.runtime.mongo.run(call.scope, lambda unit: substances.log_of(unit, day))
    return Response(text, headers={"Cache-Control": "no-store"}, media_type="text/csv; charset=utf-8")
