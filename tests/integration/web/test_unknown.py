"""The store does not say whether it has committed: the caller asks again with the same key, and it happened once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient

from shared.persistence import mongo as persistence
from tests.integration.web.world import THINGS, World

UNSURE = {"code": 91, "errmsg": "for the test", "errorLabels": ["UnknownTransactionCommitResult"]}
COMMITTED = {"writeConcernError": UNSURE}
NOT_COMMITTED = {"errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"]}


@contextmanager
def unsure(store_uri: str, how: dict[str, Any]) -> Iterator[None]:
    """Every commit is answered so."""
    with MongoClient[Any](store_uri) as admin:
        data = {"failCommands": ["commitTransaction"], **how}
        admin.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
        try:
            yield
        finally:
            admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.mark.parametrize(("how", "replayed"), [(COMMITTED, True), (NOT_COMMITTED, False)], ids=["done", "not done"])
async def test_an_unknown_commit_is_503_and_the_same_key_gives_the_one_answer(
    world: World, store_uri: str, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], *, replayed: bool
) -> None:
    monkeypatch.setattr(persistence, "_UNIT_DEADLINE_SECONDS", 0.5)
    with unsure(store_uri, how):
        unknown = await world.make(key="k1")
    assert (unknown.status_code, unknown.headers["content-type"]) == (503, "application/problem+json")
    assert unknown.json()["type"] == "urn:stillwater:problem:commit-unknown"
    assert int(unknown.headers["retry-after"]) > 0
    monkeypatch.undo()
    answers = [await world.make(key="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert ("idempotent-replayed" in answers[0].headers) is replayed
    for collection in (THINGS, "audit", "idempotency"):
        assert await world.mongo.plumbing(collection).count({}) == 1
