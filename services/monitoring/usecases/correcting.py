"""What a human decides about a reading: right, an artefact, or another patient's. Its alarms are judged again.

Nothing is taken away: a reading that does not count keeps its place, so that the device's repetition is a duplicate.
"""

from typing import Literal

from services.monitoring import schemas
from services.monitoring.folding import conflict_id, reading_id
from services.monitoring.model import ENDED, OPEN
from services.monitoring.usecases import charting, folding
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, record
from services.monitoring.usecases.rejudging import judge_again, judge_ended
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import counts_at, settled
from shared.errors import Conflict
from shared.persistence.mongo import Document, UnitOfWork

NOT_MOVED = frozenset({"decision", "decided_at", "decided_by", "rejected_by", "conflict", "after_end"})


async def decide(
    unit: UnitOfWork,
    deps: Deps,
    session_id: str,
    identifier: str,
    decision: Literal["confirmed", "artefact"],
    body: schemas.Decision,
) -> Document:
    """Idempotent by state; a later decision replaces an earlier one. Raises NotFound, Conflict for one that was moved away."""
    session = await load(unit, session_id, f"reading_{decision}")
    row, bucket = await charting.find(unit, session_id, identifier)
    if "moved_to" in row:
        raise Conflict(reasons=[{"code": "moved", "detail": "The reading was moved to another session."}])
    if row.get("decision") == decision and "decided_by" in row and "rejected_by" not in row:
        return row
    who = {"decision": decision, "decided_at": unit.clock.clinical_now(), "decided_by": unit.scope.actor.id}
    after = {name: kept for name, kept in row.items() if name != "rejected_by"} | who
    await charting.keep(unit, after, bucket)
    await _settle(unit, after)
    facts = {"reading": identifier, "sign": row["sign"], "value": row["value"], "reason_code": body.reason_code}
    await record(unit, session, f"reading_{decision}", body.occurred_at, **facts)
    await judge_again(unit, deps, session, row["sign"], counts_at(row))
    return after


async def _settle(unit: UnitOfWork, row: Document) -> None:
    """What the decision about a reading makes of the other values of its moment."""
    await charting.keep_moment(unit, row, lambda rows: settled(rows, row["_id"]))


async def move(unit: UnitOfWork, deps: Deps, session_id: str, identifier: str, body: schemas.ReadingMove) -> Document:
    """The reading is another patient's: both timelines say so, the alarms of both are judged again.

    Idempotent by state. Raises NotFound, Conflict when it was moved elsewhere already.
    """
    to_session_id = body.to_session_id
    session, target = await load(unit, session_id, "reading_move"), await load(unit, to_session_id, "reading_move")
    row, bucket = await charting.find(unit, session_id, identifier)
    if row.get("moved_to") not in (None, to_session_id) or session_id == to_session_id:
        raise Conflict(reasons=[{"code": "moved", "detail": "The reading was moved already, or is there."}])
    if "moved_to" in row:
        return (await charting.find(unit, to_session_id, row["moved_as"]))[0]
    new, place, known = await _moved(unit, row, target)
    if not known:
        await judge_ended(unit, deps, target, new)
        await charting.keep(unit, new, place)
    await charting.keep(unit, {**row, "moved_to": to_session_id, "moved_as": new["_id"]}, bucket)
    await _settle(unit, row)
    if target["state"] not in OPEN:
        await folding.later(unit, target, unit.clock.clinical_now())
    facts = {"sign": row["sign"], "value": row["value"], "reason_code": body.reason_code}
    at = happened_at(unit, body.occurred_at)
    await record(unit, session, "reading_moved_away", at, reading=identifier, to_session=to_session_id, **facts)
    await record(unit, target, "reading_moved_here", at, reading=new["_id"], from_session=session_id, **facts)
    for one in (session, target):
        await judge_again(unit, deps, one, row["sign"], counts_at(row))
    return new


async def _moved(unit: UnitOfWork, row: Document, target: Document) -> tuple[Document, Document | None, bool]:
    """As it is with its patient, in which bucket, and whether it lies there already.

    What was measured there at that moment stays, whatever it says.
    """
    key = reading_id(target["_id"], row["sign"], row["taken_at"], row["device"])
    there, bucket = await charting.look(unit, target["_id"], key)
    conflict = there is not None and there["value"] != row["value"]
    if conflict:
        key = conflict_id(key, row["value"])
        there, bucket = await charting.look(unit, target["_id"], key)
    if there is not None and "moved_to" not in there:
        return there, bucket, True
    own = {name: kept for name, kept in row.items() if name not in NOT_MOVED}
    new = {**own, "_id": key, "session_id": target["_id"], "moved_from": row["session_id"]}
    after_end = target["state"] in ENDED and row["received_at"] >= (target.get("ended_at") or row["received_at"])
    marks = {"conflict": conflict, "after_end": after_end}
    return new | {name: True for name, holds in marks.items() if holds}, bucket, False
