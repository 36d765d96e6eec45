"""A day after the end a session's readings move into columns: bucket by bucket, each in one transaction."""

from datetime import datetime, timedelta

from services.monitoring.folding import SPAN, bucket_id, fold, span_of
from services.monitoring.store import BACKLOGS, BUCKETS, ENGINES, SESSIONS, VITALS, readings_within
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Scope
from shared.persistence.timers import TimerContext, set_timer

FOLD = "fold"
AFTER = timedelta(days=1)
PRIORITY = 9


async def later(unit: UnitOfWork, session: Document, ended_at: datetime) -> None:
    """Fold what there is of the session a day from `ended_at`."""
    owner = unit.under(Scope(session["clinic_id"], unit.scope.actor))
    await set_timer(
        owner,
        FOLD,
        f"fold:{session['_id']}",
        ended_at + AFTER,
        {"session_id": session["_id"]},
        priority=PRIORITY,
    )


async def on_fold(context: TimerContext) -> None:
    """The next bucket; the timer is set again while there is one more, so that no transaction is longer than ten minutes of a sign."""
    unit, session_id = context.unit, context.payload["session_id"]
    if await fold_next(unit, session_id):
        payload = {"session_id": session_id}
        now = unit.clock.clinical_now()
        await set_timer(unit, FOLD, f"fold:{session_id}", now, payload, priority=PRIORITY)


async def fold_next(unit: UnitOfWork, session_id: str) -> bool:
    """Fold the hot rows of one sign and ten minutes; False when none were left.

    `folding_at` is noted with the first of them: from then on what is hot is not all that is known.
    """
    hot = unit.collection(VITALS)
    # By the id alone: the rows of a session lie together, each sign by its time.
    first = await hot.find({"_id": {"$gte": f"{session_id}.", "$lt": f"{session_id}/"}}, limit=1)
    if not first:
        change = {"$set": {"folded_at": unit.clock.clinical_now()}}
        await unit.collection(SESSIONS).change({"_id": session_id}, change)
        for beside in (BACKLOGS, ENGINES):
            await unit.collection(beside).discard({"_id": session_id})
        return False
    sign, start = first[0]["sign"], span_of(first[0]["taken_at"])
    rows = await readings_within(unit, session_id, sign, start, start + SPAN - timedelta(milliseconds=1))
    identifier = bucket_id(session_id, sign, start)
    began = {"$set": {"folding_at": unit.clock.clinical_now()}}
    await unit.collection(SESSIONS).change({"_id": session_id, "folding_at": None}, began)
    bucket = await unit.collection(BUCKETS).find_one({"_id": identifier})
    await unit.collection(BUCKETS).put(fold(rows, bucket))
    ids = sorted(row["_id"] for row in rows)
    await hot.discard({"_id": {"$gte": ids[0], "$lte": ids[-1]}})
    return True
