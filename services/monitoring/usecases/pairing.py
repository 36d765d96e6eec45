"""A pressure that came alone, and the other one of its measurement that is known already: swapped ones are flagged in both."""

from collections.abc import Iterable

from services.monitoring.folding import reading_id
from services.monitoring.pressures import Measured, Pair, swapped
from services.monitoring.store import VITALS
from services.monitoring.vitals import DIASTOLIC, SYSTOLIC, believed
from shared.persistence.mongo import Document, UnitOfWork

SWAPPED = "swapped"


async def paired(unit: UnitOfWork, session_id: str, reading: Measured, batch: Iterable[Document]) -> Pair:
    """Of this batch, of which nothing is stored yet, or of the store; by its id, one seek."""
    other = DIASTOLIC if reading.sign == SYSTOLIC else SYSTOLIC
    identifier = reading_id(session_id, other, reading.taken_at, reading.device)
    kept = next((row for row in batch if row["_id"] == identifier), None)
    row = kept or await unit.collection(VITALS).find_one({"_id": identifier})
    mine, theirs = reading.value, row["value"] if row and believed(row) else None
    pair = (mine, theirs) if reading.sign == SYSTOLIC else (theirs, mine)
    if swapped(pair) and kept is not None:
        kept["flags"] = [*kept.get("flags", ()), SWAPPED]
    elif swapped(pair):
        await unit.collection(VITALS).change({"_id": identifier}, {"$addToSet": {"flags": SWAPPED}})
    return pair
