"""Readings in, by session or by gateway, and out again."""

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring.routes.edge import SESSION, Clinical, Measuring, edge
from services.monitoring.store import VITALS
from services.monitoring.usecases import sessions
from services.monitoring.usecases.readings import Delivery
from shared.errors import NotFound
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["vitals"])
LISTED = Listed(schemas.ReadingShown, "sign", "device")


@router.post(f"{SESSION}/vitals", response_model=schemas.ReadingResults, responses=problems(404))
@nurse_route
async def take_vitals(session_id: Id, body: schemas.Readings, call: Measuring) -> Response:
    """One or many readings of one session; answered when they and every alarm that they caused are stored."""
    delivery = Delivery(call.scope, session_id, body.readings, body.interval_s)
    results = await edge(call).ingest.deliver(delivery)
    return Reply(schemas.ReadingResults(results=results)).render()


@router.post("/v1/vitals", response_model=schemas.ReadingResults, responses=problems())
@nurse_route
async def take_gateway_vitals(body: schemas.DeviceReadings, call: Measuring) -> Response:
    """Readings of several sessions; those of a session that is not this clinic's are refused, the others are not."""
    numbered: dict[str, list[int]] = {}
    for number, reading in enumerate(body.readings):
        numbered.setdefault(reading.session_id, []).append(number)
    results: dict[int, schemas.ReadingResult] = {}
    for session_id, numbers in numbered.items():
        chosen = [body.readings[number] for number in numbers]
        try:
            found = await edge(call).ingest.deliver(Delivery(call.scope, session_id, chosen, body.interval_s))
        except NotFound:
            found = [schemas.ReadingResult(id="-", result="refused", reason="session_unknown") for _ in chosen]
        results |= dict(zip(numbers, found, strict=True))
    return Reply(schemas.ReadingResults(results=[results[number] for number in range(len(results))])).render()


def _show(row: Document) -> schemas.ReadingShown:
    names = set(schemas.ReadingShown.model_fields) - {"id"}
    return schemas.ReadingShown(id=row["_id"], **{name: row.get(name) for name in names})


@router.get(
    f"{SESSION}/vitals",
    response_model=Listing[schemas.ReadingShown],
    responses=problems(404),
    openapi_extra=LISTED.parameters,
)
async def list_vitals(session_id: Id, call: Clinical) -> Response:
    """The session's readings."""
    page = call.page(LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        await sessions.load(unit, session_id, "vitals")
        return await page.of(unit, VITALS, {"session_id": session_id}, _show, times=("taken_at", "received_at"))

    return await call.write(work)
