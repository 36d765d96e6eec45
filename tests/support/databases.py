"""Databases of the tests: each is built once with its indexes, and empty when a test gets it.

Building one for every test costs a third of a second, and its some hundred files stay open in the store for minutes after it was
dropped; a whole run came past the limit of open files (`Too many open files`), and the store ended.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pymongo import IndexModel

from shared.clock import Clock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo

_FEW = 2000
"""Documents of a collection that are deleted faster than their database is built anew."""

_free: defaultdict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)


@asynccontextmanager
async def empty_database(
    uri: str, clock: Clock, indexes: Mapping[str, Sequence[IndexModel]] | None = None, *, listeners: Sequence[Any] = ()
) -> AsyncIterator[Mongo]:
    """A store with the plumbing's collections and those of `indexes`, without documents. Nobody else has it meanwhile."""
    wanted = {**PLUMBING_INDEXES, **(indexes or {})}
    free = _free[uri, frozenset(wanted)]
    name = free.pop() if free else f"test_{secrets.token_hex(6)}"
    mongo = Mongo(uri, name, clock, listeners=listeners)
    try:
        # At the beginning, and not at the end: what another test left running has written its last by now.
        if not await _emptied(mongo, wanted):
            await mongo.client.drop_database(name)
            await mongo.build_indexes(wanted)
        yield mongo
        free.append(name)
    finally:
        mongo.close()


async def _emptied(mongo: Mongo, wanted: Mapping[str, Sequence[IndexModel]]) -> bool:
    """Whether the database is as it was built, but for documents; they are gone then."""
    if set(await mongo.database.list_collection_names()) != set(wanted):
        return False
    counts = await asyncio.gather(*(mongo.database[name].estimated_document_count() for name in wanted))
    if any(count > _FEW for count in counts):
        return False
    filled = [name for name, count in zip(wanted, counts, strict=True) if count]
    await asyncio.gather(*(mongo.database[name].delete_many({}) for name in filled))
    return True
