"""What monitoring keeps of others: applied if newer, upserted whole."""

from services.monitoring.store import PLANS
from shared.events.intake import TreatmentPlanActivated
from shared.persistence.mongo import Document, UnitOfWork


async def know_plan(unit: UnitOfWork, event: TreatmentPlanActivated, state: str) -> bool:
    """False for an older version."""
    known = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    if known is not None and known["version"] >= event.version:
        return False
    fields = {"version": event.version, "dose_mg_per_kg": event.dose_mg_per_kg, "route": event.route, "state": state}
    await unit.collection(PLANS).put({"_id": event.plan_id, "patient_id": event.patient_id, **fields})
    return True


async def plan(unit: UnitOfWork, plan_id: str | None) -> Document | None:
    return await unit.collection(PLANS).find_one({"_id": plan_id}) if plan_id else None
