"""Resources, their hours and closures, what is free, and holds."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.scheduling import schemas
from services.scheduling.routes.callers import Management, Staff
from services.scheduling.store import HOLDS, RESOURCES
from services.scheduling.usecases import holds, resources
from services.scheduling.usecases.availability import available
from shared.errors import BadRequest
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()
LISTED = Listed(schemas.Resource, "kind", "location_id")


def show_resource(row: Document, affected: list[str] | None = None) -> schemas.Resource:
    names = set(schemas.Resource.model_fields) - {"id", "affected"}
    return schemas.Resource(id=row["_id"], affected=affected, **{name: row[name] for name in names})


def show_hold(row: Document) -> schemas.Hold:
    return schemas.Hold(id=row["_id"], **{name: row[name] for name in set(schemas.Hold.model_fields) - {"id"}})


@router.post("/v1/resources", status_code=201, response_model=schemas.Resource, responses=problems())
async def add_resource(body: schemas.NewResource, call: Management) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await resources.add_resource(unit, body)
        return Reply(show_resource(row), 201, location=f"/v1/resources/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    "/v1/resources", response_model=Listing[schemas.Resource], responses=problems(), openapi_extra=LISTED.parameters
)
async def list_resources(call: Staff) -> Response:
    """Filters: kind, location_id."""
    page = call.page(LISTED)
    return await call.read(lambda reader: page.of(reader, RESOURCES, {}, show_resource))


@router.get("/v1/resources/{resource_id}", response_model=schemas.Resource, responses=problems(404))
async def get_resource(resource_id: Id, call: Staff) -> Response:
    async def read(reader: Reader) -> Reply:
        row = await reader.collection(RESOURCES).get(resource_id)
        return Reply(show_resource(row), version=row["version"])

    return await call.read(read)


@router.patch("/v1/resources/{resource_id}", response_model=schemas.Resource, responses=problems(404, 412, 428))
async def change_resource(resource_id: Id, body: schemas.ResourceChange, call: Management) -> Response:
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await resources.change_resource(unit, resource_id, expected, body)
        return Reply(show_resource(row), version=row["version"])

    return await call.write(work)


@router.put("/v1/resources/{resource_id}/hours", response_model=schemas.Resource, responses=problems(404, 412, 428))
async def set_hours(resource_id: Id, body: schemas.Hours, call: Management) -> Response:
    """The whole week on the clinic's wall clock. What is booked already stays."""
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await resources.set_hours(unit, resource_id, expected, body)
        return Reply(show_resource(row), version=row["version"])

    return await call.write(work)


@router.post(
    "/v1/resources/{resource_id}/closures",
    status_code=201,
    response_model=schemas.Resource,
    responses=problems(404, 412, 428),
)
async def add_closure(resource_id: Id, body: schemas.NewClosure, call: Management) -> Response:
    """What is booked already stays and is named in `affected`: people move it."""
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row, affected = await resources.close(unit, resource_id, expected, body)
        return Reply(show_resource(row, affected), 201, location=f"/v1/resources/{resource_id}", version=row["version"])

    return await call.write(work)


@router.delete(
    "/v1/resources/{resource_id}/closures/{closure_id}",
    response_model=schemas.Resource,
    responses=problems(404, 412, 428),
)
async def remove_closure(resource_id: Id, closure_id: Id, call: Management) -> Response:
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await resources.reopen(unit, resource_id, expected, closure_id)
        return Reply(show_resource(row), version=row["version"])

    return await call.write(work)


@router.get("/v1/availability", response_model=schemas.Availability, responses=problems())
async def get_availability(query: Annotated[schemas.Wanted, Query()], request: Request, call: Staff) -> Response:
    """The times at which each of `resources`, and one of each of `kinds`, is free for `minutes`; at most 31 days."""
    known = {field.alias or name for name, field in schemas.Wanted.model_fields.items()}
    if set(request.query_params) - known:
        raise BadRequest("Unknown query parameters; known: " + ", ".join(sorted(known)))

    async def read(reader: Reader) -> Reply:
        return Reply(await available(reader, call.deps, query))

    return await call.read(read)


@router.post("/v1/holds", status_code=201, response_model=schemas.Hold, responses=problems(409))
async def add_hold(body: schemas.NewHold, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await holds.hold(unit, call.deps, body)
        return Reply(show_hold(row), 201, location=f"/v1/holds/{row['_id']}", version=row["version"])

    return await call.write(work)


@router.get("/v1/holds/{hold_id}", response_model=schemas.Hold, responses=problems(404))
async def get_hold(hold_id: Id, call: Staff) -> Response:
    async def read(reader: Reader) -> Reply:
        row = await reader.collection(HOLDS).get(hold_id)
        return Reply(show_hold(row), version=row["version"])

    return await call.read(read)


@router.delete("/v1/holds/{hold_id}", status_code=204, responses=problems(404))
async def end_hold(hold_id: Id, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        await holds.give_back(unit, hold_id)
        return Reply(status=204)

    return await call.write(work)
