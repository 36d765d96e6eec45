"""Scales that the engine judges like signs: a MOAA/S that a nurse noted may be an alarm, alone or with other signs."""

from services.monitoring.combinations import MOAAS
from services.monitoring.model import OPEN
from services.monitoring.store import ENGINES, SESSIONS
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.judging import Given, Judged
from shared.persistence.mongo import Document, UnitOfWork

JUDGED = (MOAAS,)


async def noted(unit: UnitOfWork, deps: Deps, entry: Document) -> None:
    """Judge an observation's score as of when it was observed; one that is older than the newest changes nothing."""
    code, score, at = entry["facts"].get("observation_code"), entry["facts"].get("score"), entry["occurred_at"]
    if code not in JUDGED or score is None:
        return
    session = await unit.collection(SESSIONS).get(entry["session_id"])
    before = (session.get("scores") or {}).get(code)
    if session["state"] not in OPEN or (before and before["at"] > at):
        return
    change = {"$set": {f"scores.{code}": {"at": at, "value": float(score)}}}
    await unit.collection(SESSIONS).change({"_id": session["_id"]}, change)
    engine = await unit.collection(ENGINES).find_one({"_id": session["_id"]})
    limits = deps.limits(session)
    judged = Judged.of(session, limits, engine, deps.calm(limits))
    if not judged.at_rest(code, score):
        await judged.now(unit, Given(code, float(score), at))
        await judged.save(unit, unit.clock.clinical_now())
