"""The staff directory: who has which role, where, with which credentials until when. No name, no contact."""

from services.scheduling import schemas
from services.scheduling.model import changed
from services.scheduling.store import STAFF
from shared.errors import Conflict, VersionConflict
from shared.events.scheduling import StaffChanged
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document


def _key(unit: UnitOfWork, staff_id: str) -> str:
    return f"{unit.scope.clinic_id}:{staff_id}"


async def add_staff(unit: UnitOfWork, body: schemas.NewStaff) -> Document:
    """Raises Conflict for somebody who is in the directory already."""
    key = _key(unit, body.staff_id)
    if await unit.collection(STAFF).find_one({"_id": key}):
        reason = {"code": "staff_known", "detail": "This person is in the directory: change the entry."}
        raise Conflict(reason["detail"], reasons=[reason])
    row = as_document(key, unit.clock.clinical_now(), **body.model_dump(mode="json"))
    await unit.collection(STAFF).insert(row)
    _tell(unit, row, "add")
    return row


async def change_staff(unit: UnitOfWork, staff_id: str, body: schemas.StaffChange, expected: int) -> Document:
    """Raises NotFound, VersionConflict."""
    row = await unit.collection(STAFF).get(_key(unit, staff_id))
    if row["version"] != expected:
        raise VersionConflict
    after = changed(row, unit.clock.clinical_now(), **body.model_dump(mode="json", exclude_unset=True))
    await unit.collection(STAFF).replace_versioned(after)
    _tell(unit, after, "change")
    return after


async def get_staff(unit: UnitOfWork, staff_id: str) -> Document:
    return await unit.collection(STAFF).get(_key(unit, staff_id))


def _tell(unit: UnitOfWork, row: Document, verb: str) -> None:
    aggregate = f"staff/{row['staff_id']}"
    emit(unit, StaffChanged.model_validate(entry(row)), aggregate=aggregate, version=row["version"])
    audit(unit, f"staff.{verb}", aggregate)


def entry(row: Document) -> Document:
    """The fields of StaffChanged and StaffState."""
    valid_until = [{"credential": item["credential"], "date": item["valid_until"]} for item in row["credentials"]]
    return {name: row[name] for name in ("staff_id", "roles", "locations")} | {"valid_until": valid_until}
