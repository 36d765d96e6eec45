"""The clinic's profile: one document, changed in parts, told as a whole."""

from typing import Any

from services.intake import schemas
from services.intake.facts import clinic_changed
from services.intake.store import CLINICS, save_current
from shared.errors import FieldError, Invalid
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork

_NOTHING: Document = {"time_zone": "America/New_York", "languages": ["en"], "locations": [], "services": []}


async def clinic(reader: Reader) -> Document:
    """Version 0 before anything was set."""
    known = await reader.collection(CLINICS).find_one({"_id": reader.scope.clinic_id})
    return known or {"_id": reader.scope.clinic_id, "version": 0, **_NOTHING}


async def change_profile(unit: UnitOfWork, expected: int, body: schemas.ClinicProfile) -> Document:
    return await _change(unit, expected, **body.model_dump())


async def change_services(unit: UnitOfWork, expected: int, body: schemas.Services) -> Document:
    return await _change(unit, expected, **body.model_dump())


async def change_locations(unit: UnitOfWork, expected: int, body: schemas.Locations) -> Document:
    """A location without an id is new. Raises Invalid for an id that is given twice."""
    places = [{**place.model_dump(), "id": place.id or new_id()} for place in body.locations]
    if len({place["id"] for place in places}) < len(places):
        raise Invalid(errors=[FieldError("/locations", "names one id twice", "duplicate")])
    return await _change(unit, expected, locations=places)


async def _change(unit: UnitOfWork, expected: int, **fields: Any) -> Document:
    """Raises VersionConflict."""
    before = {name: item for name, item in (await clinic(unit)).items() if name in _NOTHING}
    identifier = unit.scope.clinic_id
    after = await save_current(unit, CLINICS, identifier, expected, **{**before, **fields})
    emit(unit, clinic_changed(after), aggregate=f"clinic/{identifier}", version=after["version"])
    audit(unit, "clinic.change", f"clinic/{identifier}")
    return after
