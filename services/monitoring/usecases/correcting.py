"""What a human decides about a reading: right, an artefact, or another patient's. Its alarms are judged again.

Nothing is taken away: a reading that does not count keeps its place, so that the device's repetition is a duplicate.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from services.monitoring.alarms import RuleState, Transition, evaluate
from services.monitoring.episodes import Point
from services.monitoring.folding import EPOCH, bucket_id, conflict_id, fold, reading_id, span_of, unfold
from services.monitoring.limits import Limit
from services.monitoring.model import OPEN
from services.monitoring.store import ALARMS, BUCKETS, ENGINES, VITALS, readings_within
from services.monitoring.usecases import folding, raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.judging import Judged, breaches
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import believed
from shared.errors import Conflict, NotFound
from shared.persistence.mongo import Document, UnitOfWork

WINDOW, LONGEST = timedelta(minutes=15), timedelta(hours=2)


async def find(unit: UnitOfWork, session_id: str, identifier: str) -> tuple[Document, Document | None]:
    """The reading, and the bucket in which it lies where it was folded. Raises NotFound."""
    row = await unit.collection(VITALS).find_one({"_id": identifier, "session_id": session_id})
    if row is not None:
        return row, None
    bucket = await unit.collection(BUCKETS).find_one({"_id": _bucket_of(session_id, identifier)})
    for folded in unfold(bucket) if bucket else ():
        if folded["_id"] == identifier:
            return folded, bucket
    raise NotFound


def _bucket_of(session_id: str, identifier: str) -> str:
    parts = identifier.removeprefix(f"{session_id}.").split(".", 2)
    try:
        sign, moment = parts[0], int(parts[1])
        taken_at = EPOCH + timedelta(milliseconds=moment)
    except (IndexError, ValueError, OverflowError):
        raise NotFound from None
    return bucket_id(session_id, sign, span_of(taken_at))


async def _keep(unit: UnitOfWork, row: Document, bucket: Document | None) -> None:
    if bucket is None:
        await unit.collection(VITALS).put(row)
    else:
        await unit.collection(BUCKETS).put(fold([row], bucket))


async def decide(
    unit: UnitOfWork,
    deps: Deps,
    session_id: str,
    identifier: str,
    decision: Literal["confirmed", "artefact"],
    reason_code: str | None,
) -> Document:
    """Idempotent by state; a later decision replaces an earlier one. Raises NotFound, Conflict for one that was moved away."""
    session = await load(unit, session_id, f"reading_{decision}")
    row, bucket = await find(unit, session_id, identifier)
    if "moved_to" in row:
        raise Conflict(reasons=[{"code": "moved", "detail": "The reading was moved to another session."}])
    if row.get("decision") == decision:
        return row
    after = {**row, "decision": decision, "decided_at": unit.clock.clinical_now(), "decided_by": unit.scope.actor.id}
    await _keep(unit, after, bucket)
    if decision == "confirmed" and bucket is None:
        await _reject_twins(unit, after)
    facts = {"reading": identifier, "sign": row["sign"], "value": row["value"], "reason_code": reason_code}
    await record(unit, session, f"reading_{decision}", **facts)
    await judge_again(unit, deps, session, row["sign"], row["taken_at"])
    return after


async def _reject_twins(unit: UnitOfWork, row: Document) -> None:
    """Of several values for one moment the confirmed one counts."""
    key = reading_id(row["session_id"], row["sign"], row["taken_at"], row["device"])
    query = {"$or": [{"_id": key}, {"_id": {"$gte": f"{key}~", "$lt": f"{key}\x7f"}}]}
    for twin in await unit.collection(VITALS).find(query):
        if twin["_id"] != row["_id"] and twin.get("decision") is None:
            await unit.collection(VITALS).put({**twin, "decision": "artefact"})


async def move(
    unit: UnitOfWork, deps: Deps, session_id: str, identifier: str, to_session_id: str, reason_code: str
) -> Document:
    """The reading is another patient's: both timelines say so, the alarms of both are judged again.

    Idempotent by state. Raises NotFound, Conflict when it was moved elsewhere already.
    """
    session, target = await load(unit, session_id, "reading_move"), await load(unit, to_session_id, "reading_move")
    row, bucket = await find(unit, session_id, identifier)
    moved = reading_id(to_session_id, row["sign"], row["taken_at"], row["device"])
    if row.get("moved_to") not in (None, to_session_id) or session_id == to_session_id:
        raise Conflict(reasons=[{"code": "moved", "detail": "The reading was moved already, or is there."}])
    present = await unit.collection(VITALS).find_one({"_id": moved})
    if "moved_to" in row:
        return (await find(unit, to_session_id, row["moved_as"]))[0]
    if present is not None and present["value"] != row["value"]:
        moved = conflict_id(moved, row["value"])
    own = {
        name: kept for name, kept in row.items() if name not in ("decision", "decided_at", "decided_by", "after_end")
    }
    new = {**own, "_id": moved, "session_id": to_session_id, "moved_from": session_id}
    await unit.collection(VITALS).put(new)
    await _keep(unit, {**row, "moved_to": to_session_id, "moved_as": moved}, bucket)
    if target["state"] not in OPEN:
        await folding.later(unit, target, unit.clock.clinical_now())
    facts = {"sign": row["sign"], "value": row["value"], "reason_code": reason_code}
    await record(unit, session, "reading_moved_away", reading=identifier, to_session=to_session_id, **facts)
    await record(unit, target, "reading_moved_here", reading=moved, from_session=session_id, **facts)
    for one in (session, target):
        await judge_again(unit, deps, one, row["sign"], row["taken_at"])
    return new


async def judge_again(unit: UnitOfWork, deps: Deps, session: Document, sign: str, around: datetime) -> None:
    """The sign's alarms from what counts now: an alarm without its breach is over, a breach without its alarm is told.

    A raised alarm that still has a breach behind it stays as it is, whoever answered it.
    """
    if session["state"] not in OPEN:
        return
    engine = await unit.collection(ENGINES).find_one({"_id": session["_id"]})
    limits = deps.limits(session)
    judged = Judged.of(session, limits, engine, deps.calm(limits))
    mine = [limit for limit in judged.limits if limit.rule.sign == sign]
    now = unit.clock.clinical_now()
    since = min(
        [around - WINDOW, *(judged.states[limit.name].breach_since for limit in mine if limit.name in judged.states)]
    )
    rows = await readings_within(unit, session["_id"], sign, max(since, now - LONGEST), max(around, now))
    counted = _one_per_moment([row for row in rows if believed(row)], mine)
    replayed, transitions = _replay(counted, mine)
    for limit in mine:
        await _settle(unit, judged, limit, replayed.get(limit.name), transitions)
    value = counted[-1]["value"] if counted else 0.0
    for rule in (f"confirm:{sign}", f"implausible:{sign}"):
        await judged.doubt_over(unit, rule, value)
    await judged.save(unit, now)


def _one_per_moment(rows: Iterable[Document], limits: list[Limit]) -> list[Document]:
    """Of several values for one moment the worse counts, until a human decides."""
    found: dict[tuple[datetime, str], Document] = {}
    for row in rows:
        key = (row["received_at"] if "clock_off_s" in row else row["taken_at"], row["device"])
        known = found.get(key)
        if known is None or breaches(limits, row["sign"], row["value"]) > breaches(limits, row["sign"], known["value"]):
            found[key] = {**row, "at": key[0]}
    return sorted(found.values(), key=lambda row: row["at"])


def _replay(rows: list[Document], limits: list[Limit]) -> tuple[dict[str, RuleState], dict[str, Transition]]:
    """The states after these readings, and by rule the newest alarm that they raise."""
    states: dict[str, RuleState] = {}
    raised: dict[str, Transition] = {}
    before: list[Point] = []
    for row in rows:
        states, found = evaluate(states, row["sign"], row["value"], row["at"], limits, before)
        raised |= {item.limit.name: item for item in found if item.kind == "raised"}
        before = [(row["at"], row["value"])]
    return states, raised


async def _settle(
    unit: UnitOfWork, judged: Judged, limit: Limit, new: RuleState | None, raised: dict[str, Transition]
) -> None:
    name, old = limit.name, judged.states.get(limit.name)
    if old is not None and old.raised_at is not None:
        if new is None or (new.raised_at is None and new.track.head.since is None):
            await raising.clear(unit, judged.row, old.alarm_id or "", unit.clock.clinical_now(), old.value)
            del judged.states[name]
        return
    stands = new if new is not None and new.raised_at is not None else None
    if name in raised and not await _told_before(unit, judged, raised[name]):
        kept = await raising.apply(unit, judged.row, {name: stands or raised[name].state}, [raised[name]])
        judged.states[name] = kept[name]
    elif new is None or new.raised_at is not None:
        judged.states.pop(name, None)
    else:
        judged.states[name] = new


async def _told_before(unit: UnitOfWork, judged: Judged, transition: Transition) -> bool:
    query = {"_id": raising.alarm_id_of(judged.row, transition)}
    return await unit.collection(ALARMS).find_one(query) is not None
