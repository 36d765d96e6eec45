"""A session's readings, hot or in columns: as one list, one by its id, and all of one moment."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from services.monitoring.folding import EPOCH, bucket_id, joined, reading_id, refold, span_of, unfold
from services.monitoring.store import BUCKETS, VITALS
from shared.errors import NotFound
from shared.persistence.mongo import Document, UnitOfWork


async def folded(unit: UnitOfWork, session_id: str, sign: str | None) -> list[Document] | None:
    """All readings of a session of which some lie in buckets, of one sign where it is asked for; None where none do."""
    query = {"session_id": session_id} | ({"sign": sign} if sign else {})
    buckets = await unit.collection(BUCKETS).find(query)
    if not buckets:
        return None
    hot = await unit.collection(VITALS).find(query)
    rows = await asyncio.to_thread(lambda: joined((row for bucket in buckets for row in unfold(bucket)), hot))
    return [row for row in rows if "moved_to" not in row]


async def find(unit: UnitOfWork, session_id: str, identifier: str) -> tuple[Document, Document | None]:
    """The reading, and the bucket in which it lies where it was folded. Raises NotFound."""
    row, bucket = await look(unit, session_id, identifier)
    if row is None:
        raise NotFound
    return row, bucket


async def look(unit: UnitOfWork, session_id: str, identifier: str) -> tuple[Document | None, Document | None]:
    """`find` for one who need not find any. Raises NotFound for what is no id."""
    row = await unit.collection(VITALS).find_one({"_id": identifier, "session_id": session_id})
    if row is not None:
        return row, None
    bucket = await unit.collection(BUCKETS).find_one({"_id": _bucket_of(session_id, identifier)})
    mine = (known for known in (unfold(bucket) if bucket else ()) if known["_id"] == identifier)
    known = next(mine, None)
    return known, bucket if known else None


def _bucket_of(session_id: str, identifier: str) -> str:
    parts = identifier.removeprefix(f"{session_id}.").split(".", 2)
    try:
        sign, moment = parts[0], int(parts[1])
        taken_at = EPOCH + timedelta(milliseconds=moment)
    except (IndexError, ValueError, OverflowError):
        raise NotFound from None
    return bucket_id(session_id, sign, span_of(taken_at))


async def keep(unit: UnitOfWork, row: Document, bucket: Document | None) -> None:
    """As it is now, where it lies."""
    if bucket is None:
        await unit.collection(VITALS).put(row)
    else:
        await unit.collection(BUCKETS).put(refold([row], bucket))


async def keep_moment(unit: UnitOfWork, row: Document, change: Callable[[Sequence[Document]], list[Document]]) -> None:
    """All values of the row's sign, device and time as `change` makes of them, each where it lies."""
    key = reading_id(row["session_id"], row["sign"], row["taken_at"], row["device"])
    query = {"$or": [{"_id": key}, {"_id": {"$gte": f"{key}~", "$lt": f"{key}\x7f"}}]}
    hot = await unit.collection(VITALS).find(query)
    bucket = await unit.collection(BUCKETS).find_one({"_id": _bucket_of(row["session_id"], key)})
    known, at = {one["_id"] for one in hot}, (row["taken_at"], row["device"])
    beside = (one for one in (unfold(bucket) if bucket else ()) if (one["taken_at"], one["device"]) == at)
    before = [*hot, *(one for one in beside if one["_id"] not in known)]
    changed = [after for one, after in zip(before, change(before), strict=True) if after != one]
    for after in changed:
        if after["_id"] in known:
            await unit.collection(VITALS).put(after)
    folded = [after for after in changed if after["_id"] not in known]
    if bucket and folded:
        await unit.collection(BUCKETS).put(refold(folded, bucket))
