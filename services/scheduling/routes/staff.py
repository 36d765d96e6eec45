"""The staff directory."""

from fastapi import APIRouter, Response

from services.scheduling import schemas
from services.scheduling.routes.callers import Management, Staff
from services.scheduling.store import STAFF
from services.scheduling.usecases import staff
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()
LISTED = Listed(schemas.Staff, "staff_id", typed={"role": schemas.StaffRole, "location": Id})


def show_staff(row: Document) -> schemas.Staff:
    return schemas.Staff(**{name: row[name] for name in schemas.Staff.model_fields})


def _reply(row: Document, status: int = 200) -> Reply:
    location = f"/v1/staff/{row['staff_id']}" if status == 201 else None  # noqa: PLR2004 - created
    return Reply(show_staff(row), status, location=location, version=row["version"])


@router.post("/v1/staff", status_code=201, response_model=schemas.Staff, responses=problems(409))
async def add_staff(body: schemas.NewStaff, call: Management) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        return _reply(await staff.add_staff(unit, body), 201)

    return await call.write(work)


@router.get("/v1/staff", response_model=Listing[schemas.Staff], responses=problems(), openapi_extra=LISTED.parameters)
async def list_staff(call: Staff) -> Response:
    """Filters: role, location, staff_id."""
    page = call.page(LISTED)
    names = {"role": "roles", "location": "locations", "staff_id": "staff_id"}

    def select(filters: dict[str, str]) -> Document:
        return {names[name]: text for name, text in filters.items()}

    return await call.read(lambda reader: page.of(reader, STAFF, {}, show_staff, select=select))


@router.get("/v1/staff/{staff_id}", response_model=schemas.Staff, responses=problems(404))
async def get_staff(staff_id: schemas.StaffId, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        return _reply(await staff.get_staff(unit, staff_id))

    return await call.write(work)


@router.patch("/v1/staff/{staff_id}", response_model=schemas.Staff, responses=problems(404, 412, 428))
async def change_staff(staff_id: schemas.StaffId, body: schemas.StaffChange, call: Management) -> Response:
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        return _reply(await staff.change_staff(unit, staff_id, body, expected))

    return await call.write(work)
