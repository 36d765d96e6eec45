"""The Idempotency-Key: one effect, one stored answer, whoever comes at the same time."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import Conflict
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


@pytest.mark.parametrize("path", ["/v1/things", "/v1/things/stop"])
async def test_of_twins_in_the_same_moment_one_commits_and_both_hear_its_answer(world: World, path: str) -> None:
    world.gate.open.clear()
    twins = [asyncio.create_task(world.make(path, key="k1")) for _ in range(2)]
    await eventually(lambda: entered(world, 2))
    world.gate.open.set()
    answers = await asyncio.gather(*twins)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert await count(world) == 1


async def entered(world: World, times: int) -> bool:
    return world.gate.entered >= times


async def test_what_the_first_did_does_not_refuse_its_repetition(world: World) -> None:
    first = await world.make(key="k1")
    world.gate.fault = Conflict("done already")
    second = await world.make(key="k1")
    assert (second.status_code, second.text) == (201, first.text)
    assert (await world.make(key="k1", label="y")).status_code == 422
    assert (await world.make(key="k2")).status_code == 409
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
    assert row["about"] == sorted([made.json()["id"], "p-1"])
    (ttl,) = [
        one for one in await world.mongo.database["idempotency"].list_indexes().to_list(None) if one["name"] == "ttl"
    ]
    assert timedelta(seconds=ttl["expireAfterSeconds"]) == timedelta(hours=24)


async def test_what_is_kept_of_a_body_is_nothing_without_the_signing_key(world: World) -> None:
    """Else whoever has the store could try bodies until one fits."""
    runtime, kept = world.app.state.runtime, set[str]()
    for signing_key in (b"s" * 32, b"t" * 32):
        world.app.state.runtime = replace(runtime, signing_key=signing_key)
        assert "idempotent-replayed" not in (await world.make(key="k1")).headers
    for row in await world.mongo.plumbing("idempotency").find({}):
        kept |= {row["_id"], row["fingerprint"]}
    assert len(kept) == 4


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
