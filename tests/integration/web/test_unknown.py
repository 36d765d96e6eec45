"""The store does not say whether it has committed: the caller asks again with the same key, and it happened once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from shared.persistence import mongo as persistence
from tests.integration.web.world import THINGS, World
from tests.support.eventually import eventually

UNSURE = {"code": 91, "errmsg": "for the test", "errorLabels": ["UnknownTransactionCommitResult"]}
COMMITTED = {"writeConcernError": UNSURE}
NOT_COMMITTED = {"errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"]}


@contextmanager
def unsure(store_uri: str, how: dict[str, Any]) -> Iterator[None]:
    """Every commit is answered so; at the end the store forgets what it has begun, as one that was restarted does."""
    with MongoClient[Any](store_uri) as admin:
        data = {"failCommands": ["commitTransaction"], **how}
        admin.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
        try:
            yield
        finally:
            admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
            admin.admin.command({"killAllSessions": []})


@pytest.mark.parametrize(("how", "replayed"), [(COMMITTED, True), (NOT_COMMITTED, False)], ids=["done", "not done"])
async def test_an_unknown_commit_is_503_and_the_same_key_gives_the_one_answer(
    world: World, store_uri: str, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], *, replayed: bool
) -> None:
    await world.make(key="warm")
    monkeypatch.setattr(persistence, "_UNIT_DEADLINE_SECONDS", 2.0)
    with unsure(store_uri, how):
        unknown = await world.make(key="k1")
    assert (unknown.status_code, unknown.headers["content-type"]) == (503, "application/problem+json")
    assert unknown.json()["type"] == "urn:stillwater:problem:unavailable"
    assert int(unknown.headers["retry-after"]) > 0
    monkeypatch.undo()

    async def asked_again() -> httpx.Response | None:
        answer = await world.make(key="k1")
        return None if answer.status_code == 503 else answer

    answers = [await eventually(asked_again, 20, 0.5) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert ("idempotent-replayed" in answers[0].headers) is replayed
    for collection in (THINGS, "audit", "idempotency"):
        assert await world.mongo.plumbing(collection).count({}) == 2, "one of each request"
