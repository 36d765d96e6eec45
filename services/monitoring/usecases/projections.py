"""What monitoring keeps of others: applied if not older, upserted whole; what of a patient goes when the patient is erased."""

from collections.abc import Mapping
from typing import Any, Literal

from services.monitoring.store import KNOWN, PLANS
from shared.events.intake import TreatmentPlanActivated
from shared.persistence.mongo import Document, Reader, UnitOfWork

Kind = Literal["consent", "eligibility", "risk", "summary", "rems", "staff", "clinic", "readiness"]


def _key(reader: Reader, kind: Kind, key: str) -> str:
    """Ids of staff are the clinic's own, so the clinic is part of the key."""
    return f"{reader.scope.clinic_id}:{kind}:{key}"


async def know(
    unit: UnitOfWork, kind: Kind, key: str, sequence: str, facts: Mapping[str, Any], patient_id: str | None = None
) -> bool:
    """False when what is known is newer; the same again is written again, so that a rebuild makes it whole."""
    identifier = _key(unit, kind, key)
    known = await unit.collection(KNOWN).find_one({"_id": identifier})
    if known is not None and known["sequence"] > sequence:
        return False
    row: Document = {"_id": identifier, "schema_version": 1, "kind": kind, "sequence": sequence}
    await unit.collection(KNOWN).put(row | {"patient_id": patient_id, "facts": dict(facts)})
    return True


async def forget(unit: UnitOfWork, patient_id: str) -> None:
    await unit.collection(KNOWN).discard({"patient_id": patient_id})


async def known(reader: Reader, patient_id: str, *others: tuple[Kind, str]) -> dict[Kind, list[Document]]:
    """The facts by kind: all of the patient, and the others by kind and key."""
    ids = [_key(reader, kind, key) for kind, key in others]
    found: dict[Kind, list[Document]] = {}
    for query in ({"patient_id": patient_id, "kind": {"$ne": "readiness"}}, {"_id": {"$in": ids}}):
        for row in await reader.collection(KNOWN).find(query):
            found.setdefault(row["kind"], []).append(row["facts"])
    return found


async def clinic(reader: Reader) -> Document | None:
    """The clinic's profile."""
    row = await reader.collection(KNOWN).find_one({"_id": _key(reader, "clinic", reader.scope.clinic_id)})
    return row["facts"] if row else None


async def know_plan(unit: UnitOfWork, event: TreatmentPlanActivated, state: str) -> bool:
    """False for an older version."""
    known = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    if known is not None and known["version"] >= event.version:
        return False
    fields = {"version": event.version, "dose_mg_per_kg": event.dose_mg_per_kg, "route": event.route, "state": state}
    await unit.collection(PLANS).put({"_id": event.plan_id, "patient_id": event.patient_id, **fields})
    return True


async def plan(reader: Reader, plan_id: str | None) -> Document | None:
    return await reader.collection(PLANS).find_one({"_id": plan_id}) if plan_id else None


async def plans_of(reader: Reader, patient_id: str) -> list[Document]:
    """In whatever state."""
    return await reader.collection(PLANS).find({"patient_id": patient_id})


async def planned_route(reader: Reader, plan_id: str | None) -> str | None:
    """The plan's, as far as the plan is known here."""
    known = await plan(reader, plan_id)
    return known["route"] if known else None
