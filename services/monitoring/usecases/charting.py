"""A session's readings as they are listed: hot ones and those that lie in buckets are one list."""

import asyncio

from services.monitoring.folding import joined, unfold
from services.monitoring.store import BUCKETS, VITALS
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
