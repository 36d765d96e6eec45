"""Rooms, chairs, monitors, pumps and clinicians as things that can be booked."""

from services.scheduling import schemas
from services.scheduling.model import LIVE, changed
from services.scheduling.store import APPOINTMENTS, RESOURCES
from shared.errors import FieldError, Invalid, NotFound, VersionConflict
from shared.ids import new_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document


async def add_resource(unit: UnitOfWork, body: schemas.NewResource) -> Document:
    fields = body.model_dump() | {"active": True, "hours": None, "closures": []}
    resource = as_document(new_id(), unit.clock.clinical_now(), **fields)
    await unit.collection(RESOURCES).insert(resource)
    audit(unit, "resource.add", f"resource/{resource['_id']}")
    return resource


async def change_resource(unit: UnitOfWork, resource_id: str, expected: int, body: schemas.ResourceChange) -> Document:
    """Raises NotFound, VersionConflict."""
    row = await _get(unit, resource_id, expected)
    return await _save(unit, "change", row, body.model_dump(exclude_unset=True))


async def set_hours(unit: UnitOfWork, resource_id: str, expected: int, body: schemas.Hours) -> Document:
    """Counts for bookings from now on. Raises NotFound, VersionConflict."""
    row = await _get(unit, resource_id, expected)
    return await _save(unit, "hours", row, body.model_dump())


async def close(
    unit: UnitOfWork, resource_id: str, expected: int, body: schemas.NewClosure
) -> tuple[Document, list[str]]:
    """The resource, and the appointments in that time, which people must move. Raises Invalid, NotFound, VersionConflict."""
    if body.end <= body.start:
        raise Invalid(errors=[FieldError("/end", "must be after start", "length_invalid")])
    row = await _get(unit, resource_id, expected)
    now = unit.clock.clinical_now()
    kept = [closure for closure in row["closures"] if closure["end"] > now]
    closure = {"id": new_id(), **body.model_dump()}
    after = await _save(unit, "close", row, {"closures": [*kept, closure]})
    within = {
        "resources.id": resource_id,
        "state": {"$in": list(LIVE)},
        "start": {"$lt": body.end},
        "end": {"$gt": body.start},
    }
    return after, [found["_id"] for found in await unit.collection(APPOINTMENTS).find(within)]


async def reopen(unit: UnitOfWork, resource_id: str, expected: int, closure_id: str) -> Document:
    """Take a closure back. Raises NotFound, VersionConflict."""
    row = await _get(unit, resource_id, expected)
    left = [closure for closure in row["closures"] if closure["id"] != closure_id]
    if len(left) == len(row["closures"]):
        raise NotFound
    return await _save(unit, "reopen", row, {"closures": left})


async def _get(unit: UnitOfWork, resource_id: str, expected: int) -> Document:
    row = await unit.collection(RESOURCES).get(resource_id)
    if row["version"] != expected:
        raise VersionConflict
    return row


async def _save(unit: UnitOfWork, verb: str, row: Document, fields: Document) -> Document:
    after = changed(row, unit.clock.clinical_now(), **fields)
    await unit.collection(RESOURCES).replace_versioned(after)
    audit(unit, f"resource.{verb}", f"resource/{row['_id']}")
    return after
