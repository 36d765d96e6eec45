"""Scales that the engine judges like signs: what a nurse noted of sedation or of symptoms may be an alarm.

A MOAA/S alone or with other signs, a neurological or cardiac symptom by itself (clinical.md 2 and 3.3).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.monitoring.combinations import MOAAS, SYMPTOMS
from services.monitoring.episodes import Point
from services.monitoring.limits import Limit, Limits
from services.monitoring.model import OPEN
from services.monitoring.replay import replay
from services.monitoring.scales import NEWS2_SIGNS, news2
from services.monitoring.store import ALARMS, ENGINES, ENTRIES, SESSIONS, newest_of
from services.monitoring.timeline import ENDS_DOSING, phase_at, present
from services.monitoring.usecases import raising
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
    judged = await _judged(unit, deps, session)
    if judged.at_rest(given.sign, given.value):
        return
    raised = await _by_itself(unit, judged, given)
    judged.limits = judged.limits.only(lambda limit: limit.name in raised)
    await judged.now(unit, Given(given.sign, newest["value"], judged.after(given.sign, newest["at"])))
    await judged.save(unit, unit.clock.clinical_now())


async def _by_itself(
    unit: UnitOfWork, judged: Judged, given: Given, told: Collection[str] = (), *, anew: bool = False
) -> set[str]:
    """By what counted then and counts now: sedation that was expected while dosing is no finding of the recovery."""
    every = judged.limits
    then = phase_at(judged.row, await _ends_of_dosing(unit, judged.id), given.at)
    judged.limits = every.only(lambda limit: then in limit.rule.phases and limit.name not in told)
    raised = await judged.by_itself(unit, given, anew=anew)
    judged.limits = every
    return raised


async def _ends_of_dosing(unit: UnitOfWork, session_id: str) -> list[Document]:
    return await unit.collection(ENTRIES).find({"session_id": session_id, "kind": {"$in": list(ENDS_DOSING)}})


async def judge_again(
    unit: UnitOfWork, deps: Deps, session_id: str, was: Document | None, entry: Document | None
) -> None:
    """After a correction or a move of an observation, as it was here and as it is: its scale alone, for nothing else changed.

    The newest score that counts is what is known now; an older one is judged by itself, like one that is noted late. An
    alarm of which a breach is left stands, answered or not.
    """
    session = await unit.collection(SESSIONS).get(session_id)
    if session["state"] not in OPEN:
        return
    codes = {one["facts"]["observation_code"] for one in (was, entry) if one is not None}
    now, judged = unit.clock.clinical_now(), await _judged(unit, deps, session)
    for code in (code for code in JUDGED if code in codes):
        points = await scores_of(unit, session_id, code)
        await judged.forget(unit, code, now, await _rules_left(unit, judged, code, points))
        newest: Document | None = {"at": points[-1][0], "value": points[-1][1]} if points else None
        await _keep(unit, session, code, newest)
        if newest:
            if entry is not None and _scores(entry, code) and entry["occurred_at"] < newest["at"]:
                given = Given(code, float(entry["facts"]["score"]), entry["occurred_at"])
                await _by_itself(unit, judged, given, await _told_of(unit, judged, was, given), anew=True)
            await judged.now(unit, Given(code, newest["value"], now))
    await judged.save(unit, now)


async def _told_of(unit: UnitOfWork, judged: Judged, was: Document | None, given: Given) -> set[str]:
    """The rules whose alarms told of a score as it was, and those that they speak for as it is (ADR 19)."""
    if was is None or not _scores(was, given.sign):
        return set()
    limits, code, score = judged.limits, given.sign, float(was["facts"]["score"])
    rows = await unit.collection(ALARMS).find({"session_id": judged.id, "breach_since": was["occurred_at"]})
    begun = {row["rule"] for row in rows}
    told = {limit.name for limit in limits if limit.name in begun and _speaks(limits, limit, code, score)}
    speaking = {limit.name for limit in limits if limit.name in told and _speaks(limits, limit, code, given.value)}
    return told | {
        limit.name for limit in limits if any(graver.name in speaking for graver in limits.covering[limit.name])
    }


async def _rules_left(unit: UnitOfWork, judged: Judged, code: str, points: Sequence[Point]) -> set[str]:
    """The rules that still have what they tell of: an alarm its breach, a delay that runs the score of now."""
    stirred = set(judged.limits.stirred_by.get(code, ())) & set(judged.states)
    mine = [limit for limit in judged.limits if limit.name in stirred]
    return {limit.name for limit in mine if await _is_left(unit, judged, limit, code, points)}


async def _is_left(unit: UnitOfWork, judged: Judged, limit: Limit, code: str, points: Sequence[Point]) -> bool:
    state = judged.states[limit.name]
    if state.alarm_id is None:
        return any(_speaks(judged.limits, limit, code, value) for _, value, _ in points[-1:])
    if limit.rule.sign == code:
        heard = replace(limit, suppressed_until=None)  # what stands was told before anybody wanted it quiet
        new, _ = replay(points, heard, await raising.stood(unit, judged.row, [limit]), unit.clock.clinical_now())
        return new is not None and (new.raised_at is not None or new.track.head.since is not None)
    known = max((at for at, _, _ in points if at <= state.breach_since), default=state.breach_since)
    return any(at >= known and _speaks(judged.limits, limit, code, value) for at, value, _ in points)


def _speaks(limits: Limits, limit: Limit, code: str, value: float) -> bool:
    """Whether a score breaks the rule, or is a finding of the combination that the rule is about."""
    if limit.rule.sign == code:
        return limit.breached(value)
    joined = [item for item in limits.combinations if item.sign == limit.rule.sign]
    return any(part.sign == code and part.found(value) for item in joined for part in item.parts)


async def scores_of(unit: UnitOfWork, session_id: str, code: str) -> list[Point]:
    """What was noted of a scale and counts now, by the time of the observation; of one moment the later note last."""
    written = present(await of_session(unit, session_id))
    return [(entry["occurred_at"], float(entry["facts"]["score"]), MANUAL) for entry in written if _scores(entry, code)]


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
