"""Scales that the engine judges like signs: what a nurse noted of sedation or of symptoms may be an alarm.

A MOAA/S alone or with other signs, a neurological or cardiac symptom by itself (clinical.md 2 and 3.3).
"""

from datetime import datetime, timedelta

from services.monitoring.combinations import MOAAS, SYMPTOMS
from services.monitoring.episodes import Point
from services.monitoring.model import OPEN
from services.monitoring.scales import NEWS2_SIGNS, news2
from services.monitoring.store import ENGINES, ENTRIES, SESSIONS, newest_of
from services.monitoring.timeline import ENDS_DOSING, phase_at, present
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import of_session, record
from services.monitoring.usecases.judging import Given, Judged
from services.monitoring.vitals import MANUAL
from shared.persistence.mongo import Document, UnitOfWork

JUDGED = (MOAAS, SYMPTOMS)
PROMPT = 5
FRESH = timedelta(minutes=15)  # CFG: older values make no score


async def noted(unit: UnitOfWork, deps: Deps, entry: Document) -> None:
    """Judge an observation's score as of when it was observed.

    One that is older than the newest is not what is known now: it was there, so it is told, and over.
    """
    code, score, at = entry["facts"].get("observation_code"), entry["facts"].get("score"), entry["occurred_at"]
    if code not in JUDGED or score is None:
        return
    session = await unit.collection(SESSIONS).get(entry["session_id"])
    before = (session.get("scores") or {}).get(code)
    if session["state"] not in OPEN:
        return
    if before and before["at"] > at:
        await _noted_late(unit, deps, session, Given(code, float(score), at), before)
        return
    if code == MOAAS:
        await _news2(unit, session, float(score), at)
    await _keep(unit, session, code, {"at": at, "value": float(score)})
    judged = await _judged(unit, deps, session)
    if not judged.at_rest(code, score):
        await judged.now(unit, Given(code, float(score), judged.after(code, at)))
        await judged.save(unit, unit.clock.clinical_now())


async def _noted_late(unit: UnitOfWork, deps: Deps, session: Document, given: Given, newest: Document) -> None:
    """By what counted then and counts now: sedation that was expected while dosing is no finding of the recovery."""
    judged = await _judged(unit, deps, session)
    if judged.at_rest(given.sign, given.value):
        return
    then = phase_at(session, await _ends_of_dosing(unit, session["_id"]), given.at)
    judged.limits = judged.limits.only(lambda limit: then in limit.rule.phases)
    raised = await judged.by_itself(unit, given)
    judged.limits = judged.limits.only(lambda limit: limit.name in raised)
    await judged.now(unit, Given(given.sign, newest["value"], judged.after(given.sign, newest["at"])))
    await judged.save(unit, unit.clock.clinical_now())


async def _ends_of_dosing(unit: UnitOfWork, session_id: str) -> list[Document]:
    return await unit.collection(ENTRIES).find({"session_id": session_id, "kind": {"$in": list(ENDS_DOSING)}})


async def judge_again(unit: UnitOfWork, deps: Deps, session_id: str) -> None:
    """After a correction or a move: the newest score that counts is what is known now; without any, its alarms are over."""
    session = await unit.collection(SESSIONS).get(session_id)
    if session["state"] not in OPEN:
        return
    written = present(await of_session(unit, session_id))
    now, judged = unit.clock.clinical_now(), await _judged(unit, deps, session)
    for code in JUDGED:
        newest = next((entry for entry in reversed(written) if _scores(entry, code)), None)
        if newest is None:
            await _keep(unit, session, code, None)
            await judged.forget(unit, code, now, None)
            continue
        value = float(newest["facts"]["score"])
        await judged.forget(unit, code, now, value)
        await _keep(unit, session, code, {"at": newest["occurred_at"], "value": value})
        await judged.now(unit, Given(code, value, now))
    await judged.save(unit, now)


async def scores_of(unit: UnitOfWork, session_id: str, code: str) -> list[Point]:
    """What was noted of a scale and counts now, by the time of the observation."""
    written = present(await of_session(unit, session_id))
    return sorted(
        (entry["occurred_at"], float(entry["facts"]["score"]), MANUAL) for entry in written if _scores(entry, code)
    )


def _scores(entry: Document, code: str) -> bool:
    facts = entry["facts"]
    return entry["kind"] == "observation" and facts["observation_code"] == code and facts.get("score") is not None


async def _keep(unit: UnitOfWork, session: Document, code: str, score: Document | None) -> None:
    change: Document = {"$set": {f"scores.{code}": score}} if score else {"$unset": {f"scores.{code}": ""}}
    await unit.collection(SESSIONS).change({"_id": session["_id"]}, change)


async def _judged(unit: UnitOfWork, deps: Deps, session: Document) -> Judged:
    engine, limits = await unit.collection(ENGINES).find_one({"_id": session["_id"]}), deps.limits(session)
    return Judged.of(session, limits, engine, deps.calm(limits))


async def _news2(unit: UnitOfWork, session: Document, moaas: float, at: datetime) -> None:
    """An extra on the timeline wherever every parameter is known; no alarm comes of it (clinical.md 3.4)."""
    signs: dict[str, float] = {}
    for sign in NEWS2_SIGNS:
        row = await newest_of(unit, session["_id"], sign, at)
        if row is None or row["taken_at"] < at - FRESH:
            return
        signs[sign] = row["value"]
    written = present(await of_session(unit, session["_id"]))
    on_oxygen = any(entry["facts"].get("intervention_code") == "oxygen" for entry in written)
    scale = (session["baseline"] or {}).get("spo2_scale", 1)
    found = news2(signs, on_oxygen=on_oxygen, alert=moaas == PROMPT, spo2_scale=scale)
    if found is not None:
        await record(unit, session, "news2", at, total=found[0], risk=found[1])
