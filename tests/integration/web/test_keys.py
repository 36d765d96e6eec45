"""The Idempotency-Key: one effect, one stored answer, whoever comes at the same time."""

import asyncio
from datetime import timedelta

import pytest

from shared.errors import Conflict
from shared.persistence import mongo as persistence
from tests.integration.web.world import OTHER, RING, THINGS, World, gathered
from tests.support.eventually import eventually


async def count(world: World) -> int:
    return await world.mongo.plumbing(THINGS).count({})


async def test_twins_are_answered_alike_and_act_once(world: World) -> None:
    answers = await gathered(12, lambda _: world.make(key="k1"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 11
    assert await count(world) == 1
    assert len(await world.mongo.plumbing("audit").find({})) == 1


async def test_the_second_waits_for_the_first_and_does_not_begin(world: World) -> None:
    world.gate.open.clear()
    first = asyncio.create_task(world.make(key="k1"))
    await eventually(lambda: entered(world, 1))
    second = asyncio.create_task(world.make(key="k1"))
    done, _ = await asyncio.wait({second}, timeout=0.5)
    assert not done
    assert world.gate.entered == 1
    world.gate.open.set()
    assert (await first).text == (await second).text
    assert await count(world) == 1


async def entered(world: World, times: int) -> bool:
    return world.gate.entered >= times


@pytest.mark.parametrize(("path", "status"), [("/v1/things", 409), ("/v1/things/stop", 503)])
async def test_a_twin_does_not_wait_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    assert persistence._UNIT_DEADLINE_SECONDS == 5.0
    monkeypatch.setattr(persistence, "_UNIT_DEADLINE_SECONDS", 0.3)
    world.gate.open.clear()
    first = asyncio.create_task(world.make(path, key="k1"))
    await eventually(lambda: entered(world, 1))
    second = await world.make(path, key="k1")
    assert (second.status_code, second.headers["retry-after"]) == (status, "1")
    world.gate.open.set()
    assert (await first).status_code == 201
    third = await world.make(path, key="k1")
    assert third.headers["idempotent-replayed"] == "true"
    assert await count(world) == 1


async def test_another_body_or_query_under_the_key_is_refused_and_nothing_changes(world: World) -> None:
    assert (await world.make(key="k1")).status_code == 201
    assert (await world.make(key="k1", label="y")).status_code == 422
    assert (await world.make("/v1/things?a=1", key="k1")).status_code == 422
    assert await count(world) == 1


async def test_a_key_belongs_to_one_caller_route_and_clinic(world: World) -> None:
    await world.make(key="k1")
    await world.make("/v1/things/stop", key="k1")
    for who in ("n2", f"n1@{OTHER}"):
        headers = {"Authorization": f"Bearer {who}", "Idempotency-Key": "k1"}
        answer = await world.http.post("/v1/things", json={"kind": "round"}, headers=headers)
        assert "idempotent-replayed" not in answer.headers
    assert await count(world) == 4
    assert (await world.make(key='"k1"')).headers["idempotent-replayed"] == "true"


async def test_a_failure_is_not_kept(world: World) -> None:
    world.gate.fault = Conflict("not now")
    assert (await world.make(key="k1")).status_code == 409
    world.gate.fault = None
    assert (await world.make(key="k1")).status_code == 201
    assert len(await world.mongo.plumbing("idempotency").find({})) == 1


async def test_what_is_kept_is_sealed_and_says_whose_it_is(world: World) -> None:
    made = await world.make(key="marker-key", label="marker-label")
    (row,) = await world.mongo.plumbing("idempotency").find({})
    assert "marker" not in repr(row)
    assert RING.open(row["kid"], row["content"], row["_id"]) == made.content
    assert row["about"] == ["p-1", f"thing/{made.json()['id']}"]
    (ttl,) = [
        one for one in await world.mongo.database["idempotency"].list_indexes().to_list(None) if one["name"] == "ttl"
    ]
    assert timedelta(seconds=ttl["expireAfterSeconds"]) == timedelta(hours=24)


@pytest.mark.parametrize("key", ["x" * 256, "a\x7fb", "tab\there"])
async def test_a_key_is_short_and_printable(world: World, key: str) -> None:
    assert (await world.make(key=key)).status_code == 400
    assert await count(world) == 0


async def test_a_read_keeps_nothing(world: World) -> None:
    await world.http.get("/v1/things", headers={"Idempotency-Key": "k1"})
    assert await world.mongo.plumbing("idempotency").find({}) == []


async def test_a_unique_index_that_refuses_is_a_conflict(world: World) -> None:
    assert (await world.http.post("/v1/claims/s1")).status_code == 204
    assert (await world.http.post("/v1/claims/s1")).status_code == 409
