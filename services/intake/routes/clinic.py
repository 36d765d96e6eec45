"""The clinic's profile: one document with one ETag, changed in parts. If-Match `"v0"` where nothing was set yet."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.intake import schemas
from services.intake.routes.edge import Anybody, Managing, change, shown
from services.intake.usecases import clinic
from shared.persistence.mongo import Document, Reader
from shared.web.call import Call, Reply
from shared.web.problems import problems

router = APIRouter(tags=["clinic"])


def show_clinic(row: Document) -> schemas.Clinic:
    return shown(schemas.Clinic, row, id=row["_id"])


def show_locations(row: Document) -> schemas.Locations:
    return shown(schemas.Locations, row)


def show_services(row: Document) -> schemas.Services:
    return shown(schemas.Services, row)


async def _read(call: Call, show: Callable[[Document], BaseModel]) -> Response:
    async def read(reader: Reader) -> Reply:
        row = await clinic.clinic(reader)
        return Reply(show(row), version=row["version"])

    return await call.read(read)


@router.get("/v1/clinic", response_model=schemas.Clinic, responses=problems())
async def get_clinic(call: Anybody) -> Response:
    return await _read(call, show_clinic)


@router.put("/v1/clinic", response_model=schemas.Clinic, responses=problems(412, 428))
async def put_clinic(body: schemas.ClinicProfile, call: Managing) -> Response:
    """Time zone and languages; locations and services have paths of their own."""
    expected = call.expected_version()
    return await change(call, lambda unit: clinic.change_profile(unit, expected, body), show_clinic)


@router.get("/v1/clinic/locations", response_model=schemas.Locations, responses=problems())
async def get_locations(call: Anybody) -> Response:
    return await _read(call, show_locations)


@router.put("/v1/clinic/locations", response_model=schemas.Locations, responses=problems(412, 428))
async def put_locations(body: schemas.Locations, call: Managing) -> Response:
    expected = call.expected_version()
    return await change(call, lambda unit: clinic.change_locations(unit, expected, body), show_locations)


@router.get("/v1/clinic/services", response_model=schemas.Services, responses=problems())
async def get_services(call: Anybody) -> Response:
    return await _read(call, show_services)


@router.put("/v1/clinic/services", response_model=schemas.Services, responses=problems(412, 428))
async def put_services(body: schemas.Services, call: Managing) -> Response:
    expected = call.expected_version()
    return await change(call, lambda unit: clinic.change_services(unit, expected, body), show_services)
