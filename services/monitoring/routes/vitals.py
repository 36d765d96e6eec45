"""Readings in, by session or by gateway; out again; and what people decide about one."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from services.monitoring import schemas
from services.monitoring.arrivals import Arrived, by_line, numbered, whole
from services.monitoring.routes.edge import SESSION, Clinical, Measuring, deps, edge
from services.monitoring.store import VITALS
from services.monitoring.usecases import charting, correcting, sessions
from services.monitoring.usecases.readings import Delivery
from services.monitoring.vitals import Outcome
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.bodies import LINES
from shared.web.call import Call, Listed, Listing, Reply
from shared.web.lines import body_of, takes_lines
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["vitals"])
LISTED = Listed(schemas.ReadingShown, "sign", "device")
NO_STORE = {"Cache-Control": "no-store"}
TIMES, CHANGED = ("taken_at", "received_at"), ("decided_at",)
READING = f"{SESSION}/vitals/{{reading_id}}"
ReadingId = Annotated[
    str, Path(pattern=r"^[0-9a-f-]{36}\.[0-9]{1,7}-[0-9]\.-?[0-9]{12,14}\.[A-Za-z0-9_-]{1,64}(~-?[0-9.e-]{1,24})?$")
]


@router.post(
    f"{SESSION}/vitals",
    response_model=schemas.ReadingResults,
    responses=problems(404),
    openapi_extra=body_of(schemas.Readings, schemas.Reading, "readings"),
)
@nurse_route
@takes_lines
async def take_vitals(session_id: Id, request: Request, call: Measuring) -> Response:
    """One or many readings of one session; answered when they and every alarm that they caused are stored."""
    body = await request.body()
    if _lines(request):
        return await _answer_lines(call, body, session_id, await by_line(schemas.Reading, body))
    given, faults = whole(schemas.Readings, body)
    return await _answer(call, session_id, Arrived(given.readings, faults, given.interval_s))


@router.post(
    "/v1/vitals",
    response_model=schemas.ReadingResults,
    responses=problems(),
    openapi_extra=body_of(schemas.DeviceReadings, schemas.DeviceReading, "readings"),
)
@nurse_route
@takes_lines
async def take_gateway_vitals(request: Request, call: Measuring) -> Response:
    """Readings of several sessions, by session or by device; those that belong to none here are refused, the others are not."""
    body = await request.body()
    if _lines(request):
        return await _answer_lines(call, body, None, await by_line(schemas.DeviceReading, body))
    given, faults = whole(schemas.DeviceReadings, body)
    return await _answer(call, None, Arrived(given.readings, faults, given.interval_s))


def _lines(request: Request) -> bool:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media == LINES.decode()


async def _taken(call: Call, session_id: str | None, arrived: Arrived[schemas.Reading]) -> list[Outcome]:
    delivery = Delivery(call.scope, session_id, arrived.readings, arrived.interval_s)
    return arrived.results(await edge(call).ingest.deliver(delivery))


async def _answer(call: Call, session_id: str | None, arrived: Arrived[schemas.Reading]) -> Response:
    results = [outcome.told() for outcome in await _taken(call, session_id, arrived)]
    return Response(orjson.dumps({"results": results}), headers=NO_STORE, media_type="application/json")


async def _answer_lines(call: Call, body: bytes, session_id: str | None, arrived: Arrived[schemas.Reading]) -> Response:
    told = numbered(body, await _taken(call, session_id, arrived))
    return Response(told, headers=NO_STORE, media_type=LINES.decode())


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
    """The session's readings, also those of long ago."""
    page = call.page(LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        await sessions.load(unit, session_id, "vitals")
        rows = await charting.folded(unit, session_id, page.filters.get("sign"))
        if rows is not None:
            return page.over(rows, _show, TIMES, CHANGED)
        here = {"session_id": session_id, "moved_to": None}
        return await page.of(unit, VITALS, here, _show, times=TIMES, changed=CHANGED)

    return await call.write(work)


async def _decide(call: Call, change: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        return Reply(_show(await change(unit)))

    return await call.write(work)


@router.post(f"{READING}/confirm", response_model=schemas.ReadingShown, responses=problems(404, 409))
async def confirm_reading(
    session_id: Id, reading_id: ReadingId, call: Clinical, body: schemas.Decision | None = None
) -> Response:
    """The value is right, whatever its bounds say; of several for one moment it is the one that counts."""
    told = body or schemas.Decision()
    return await _decide(
        call, lambda unit: correcting.decide(unit, deps(call), session_id, reading_id, "confirmed", told)
    )


@router.post(f"{READING}/artefact", response_model=schemas.ReadingShown, responses=problems(404, 409))
async def reject_reading(
    session_id: Id, reading_id: ReadingId, call: Clinical, body: schemas.Decision | None = None
) -> Response:
    """The value is none of the patient's body; alarms that rest on it alone are over."""
    told = body or schemas.Decision()
    return await _decide(
        call, lambda unit: correcting.decide(unit, deps(call), session_id, reading_id, "artefact", told)
    )


@router.post(f"{READING}/move", response_model=schemas.ReadingShown, responses=problems(404, 409))
async def move_reading(session_id: Id, reading_id: ReadingId, body: schemas.ReadingMove, call: Clinical) -> Response:
    """It was recorded for the wrong patient; the alarms of both are judged again."""
    return await _decide(call, lambda unit: correcting.move(unit, deps(call), session_id, reading_id, body))
