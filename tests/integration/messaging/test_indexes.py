"""What is asked every second stays cheap when millions of rows have been sent: no query walks through all of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.messaging.outbox import PENDING
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.timers import DUE_ORDER, due_query
from tests.integration.messaging.world import SCOPE

PAST, FUTURE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
QUERIES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("outbox", {"state": "pending", "lane": "alarm", "_id": {"$gt": ""}}, {"_id": 1}),
    ("outbox", PENDING, {"_id": 1}),
    ("outbox", {"state": "dead"}, {"_id": 1}),
    ("dead_letters", {"state": "open"}, {"_id": 1}),
    ("timers", due_query(PAST, PAST, ["test"]), dict(DUE_ORDER)),
]


@pytest.mark.parametrize(("collection", "query", "sort"), QUERIES)
async def test_a_frequent_query_reads_only_what_it_returns(
    mongo: Mongo, collection: str, query: dict[str, Any], sort: dict[str, int]
) -> None:
    rows = [
        {"_id": f"{number:06d}", "state": "sent", "lane": "bulk", "clinic_id": "c", "key": str(number)}
        | {"clock": ("clinical", "system")[number // 10 % 2], "priority": number % 10, "due_at": FUTURE, "kind": "test"}
        for number in range(2000)
    ]

    async def fill(unit: UnitOfWork) -> None:
        await unit.plumbing(collection).insert_many(rows)

    await mongo.run(SCOPE, fill)
    find = {"find": collection, "filter": query, "sort": sort, "limit": 100}
    plan = await mongo.database.command("explain", find, verbosity="executionStats")
    assert plan["executionStats"]["totalDocsExamined"] == 0
    assert plan["executionStats"]["totalKeysExamined"] <= 20
