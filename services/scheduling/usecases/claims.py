"""Claims on time: what is taken, what is free, and taking it. One unique row per resource (or patient) and slot."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.scheduling.hours import refusal
from services.scheduling.slots import Bookable, slots
from services.scheduling.store import CLAIMS, RESOURCES, patient_claim
from shared.errors import Conflict, FieldError, Invalid
from shared.persistence.mongo import Document, Reader, UnitOfWork

MAX_LENGTH = timedelta(hours=8)
_WORDS = {
    "resource_retired": "The resource is no longer in use.",
    "resource_closed": "The resource is closed at that time.",
    "outside_hours": "The time is outside the resource's hours.",
    "resource_taken": "The resource is booked at that time.",
    "patient_taken": "The patient has another appointment at that time.",
}


def check_times(start: datetime, end: datetime, now: datetime) -> None:
    """Raises Invalid."""
    if not timedelta(0) < end - start <= MAX_LENGTH:
        raise Invalid(errors=[FieldError("/end", "must be after start and at most 8 hours later", "length_invalid")])
    if end <= now:
        raise Invalid(errors=[FieldError("/start", "is in the past", "in_the_past")])


async def resources_named(reader: Reader, names: Sequence[str], pointer: str = "/resources") -> list[Document]:
    """In the order named. Raises Invalid for one that is not of this clinic or is named twice."""
    rows = await reader.collection(RESOURCES).find({"_id": {"$in": list(names)}}) if names else []
    known = {row["_id"]: row for row in rows}
    faults = [
        FieldError(f"{pointer}/{n}", "is not a resource here", "unknown") for n, i in enumerate(names) if i not in known
    ]
    faults += [
        FieldError(f"{pointer}/{n}", "is named twice", "repeated") for n, i in enumerate(names) if i in names[:n]
    ]
    if faults:
        raise Invalid(errors=faults)
    return [known[name] for name in names]


def location_of(resources: Sequence[Document]) -> str | None:
    """Where the visit takes place. Raises Invalid for resources of two locations."""
    places = {row["location_id"] for row in resources} - {None}
    if len(places) > 1:
        raise Invalid(errors=[FieldError("/resources", "are at different locations", "two_locations")])
    return next(iter(places), None)


def patient_row(reader: Reader, patient_id: str) -> Document:
    """The patient as something that can be claimed."""
    name = patient_claim(reader.scope.clinic_id, patient_id)
    return {"_id": name, "kind": "patient", "active": True, "hours": None, "closures": []}


async def bookable(reader: Reader, row: Document, first: datetime, last: datetime) -> Bookable:
    """With the slots that are claimed from the day before `first` to the day after `last`."""
    begin, finish = ((moment + timedelta(days=days)).strftime("%Y%m%d") for moment, days in ((first, -1), (last, 2)))
    prefix = f"{row['_id']}:"
    found = await reader.collection(CLAIMS).find({"_id": {"$gte": prefix + begin, "$lt": prefix + finish}})
    return Bookable(row, {claim["_id"].removeprefix(prefix) for claim in found})


async def claim(
    unit: UnitOfWork, owner: str, rows: Sequence[Document], start: datetime, end: datetime, zone: ZoneInfo
) -> None:
    """Raises Conflict that names what is closed or taken; nothing is claimed then."""
    reasons = [_reason(code, row) for row in rows if (code := refusal(row, start, end, zone))]
    wanted = {f"{row['_id']}:{slot}": row for row in rows for slot in slots(start, end)}
    claims = unit.collection(CLAIMS)
    taken = {
        wanted[found["_id"]]["_id"]: wanted[found["_id"]] for found in await claims.find({"_id": {"$in": list(wanted)}})
    }
    reasons += [
        _reason("patient_taken" if row["kind"] == "patient" else "resource_taken", row) for row in taken.values()
    ]
    if reasons:
        raise Conflict("A needed resource is not free.", reasons=reasons)
    await claims.insert_many([{"_id": name, "owner": owner} for name in wanted])


def _reason(code: str, row: Document) -> dict[str, str]:
    return {"code": code, "detail": _WORDS[code], "id": row["_id"].rpartition(":")[2]}


async def release(unit: UnitOfWork, owner: str) -> None:
    await unit.collection(CLAIMS).delete({"owner": owner})
