"""Floods, quotas, and that neither reaches a nurse."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.errors import Conflict
from shared.persistence.mongo import Mongo
from shared.web import limits
from shared.web.rates import Limiter
from tests.integration.web.test_keys import entered
from tests.integration.web.world import World, gathered
from tests.support.eventually import eventually


async def test_a_flood_of_ordinary_requests_takes_no_place_of_a_nurse(world: World) -> None:
    world.gate.open.clear()
    flood = [asyncio.create_task(world.make()) for _ in range(limits.IN_FLIGHT)]
    await eventually(lambda: entered(world, limits.IN_FLIGHT), within_s=20)
    refused = await world.make()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    nurse = [asyncio.create_task(world.make("/v1/things/stop")) for _ in range(20)]
    await eventually(lambda: entered(world, limits.IN_FLIGHT + 20), within_s=20)
    world.gate.open.set()
    assert {(await answer).status_code for answer in (*nurse, *flood)} == {201}
    assert (await world.make()).status_code == 201


def places(world: World, nurses: int) -> None:
    (own,) = [one for one in world.app.user_middleware if "nurse_paths" in one.kwargs]
    own.kwargs["nurses"] = nurses


async def test_a_nurse_waits_for_a_place_of_her_own(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NURSE_WAIT_SECONDS", 0.2)
    world = World(mongo, mongo.clock)
    places(world, 2)
    world.gate.open.clear()
    held = [asyncio.create_task(world.make("/v1/things/stop")) for _ in range(2)]
    await eventually(lambda: entered(world, 2))
    assert (await world.make("/v1/things/stop")).status_code == 503
    monkeypatch.setattr(limits, "NURSE_WAIT_SECONDS", 5.0)
    waiting = asyncio.create_task(world.make("/v1/things/stop"))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    world.gate.open.set()
    assert {(await answer).status_code for answer in (*held, waiting)} == {201}


async def test_a_body_that_never_comes_takes_no_place_of_a_nurse(mongo: Mongo) -> None:
    world = World(mongo, mongo.clock)
    places(world, 1)
    begun, end = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"kind"'
        begun.set()
        await end.wait()
        yield b':"round"}'

    json = {"Content-Type": "application/json"}
    held = asyncio.create_task(world.http.post("/v1/things/stop", content=slow(), headers=json))
    await asyncio.wait_for(begun.wait(), 5)
    assert (await world.make("/v1/things/stop")).status_code == 201
    end.set()
    assert (await held).status_code == 201


async def test_the_quota_is_per_subject_and_told_on_every_answer(mongo: Mongo) -> None:
    world = World(mongo, mongo.clock, Limiter(mongo.clock.monotonic, per_minute=3))
    answers = [await world.http.get("/v1/things") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
        f'"default";r={left}' for left in (2, 1, 0, 0)
    ]
    last = answers[-1]
    assert last.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert 1 <= int(last.headers["retry-after"]) <= 20
    assert last.headers["retry-after"] == last.headers["ratelimit"].rpartition("t=")[2]
    assert last.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too many requests",
        "status": 429,
        "violated-policies": ["default"],
    }
    other = {"Authorization": "Bearer n2"}
    assert (await world.http.get("/v1/things?limit=0", headers=other)).headers["ratelimit"].startswith('"default";r=2')
    assert "ratelimit" not in (await world.http.get("/v1/things", headers={"Authorization": ""})).headers


async def test_a_nurse_is_never_counted(mongo: Mongo) -> None:
    world = World(mongo, mongo.clock, Limiter(mongo.clock.monotonic, per_minute=1))
    assert (await world.http.get("/v1/things")).status_code == 200
    answers = await gathered(10, lambda _: world.make("/v1/things/stop"))
    assert {answer.status_code for answer in answers} == {201}
    assert not any("ratelimit" in answer.headers for answer in answers)
    assert (await world.http.get("/v1/things")).status_code == 429


async def test_what_would_stop_a_nurse_is_503_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.gate.fault = Conflict("not in this state")
    with caplog.at_level(logging.ERROR):
        answer = await world.make("/v1/things/stop")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert [record.message for record in caplog.records] == ["http.nurse_stopped"]
    assert (await world.make()).status_code == 409


FORM = {"Origin": "https://clinic.example", "Publishable-Key": "pk"}


async def test_the_form_counts_by_address_and_key(mongo: Mongo) -> None:
    world = World(mongo, mongo.clock, Limiter(mongo.clock.monotonic, per_minute=1, form_per_minute=2))
    statuses = [(await world.http.post("/v1/form", headers=FORM)).status_code for _ in range(3)]
    assert statuses == [204, 204, 429]
    assert (await world.http.post("/v1/form", headers=FORM | {"Publishable-Key": "pk2"})).status_code == 204
    transport = httpx.ASGITransport(world.app, client=("192.0.2.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://things.test") as elsewhere:
        answer = await elsewhere.post("/v1/form", headers=FORM)
    assert (answer.status_code, answer.headers["ratelimit-policy"]) == (204, '"form";q=2;w=60')


async def preflight(world: World, path: str, origin: str, method: str = "POST") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    asked["Access-Control-Request-Headers"] = "content-type, publishable-key, idempotency-key"
    return await world.http.options(path, headers=asked)


async def test_only_the_form_and_only_named_origins_may_be_used_by_a_page(world: World) -> None:
    ours = await preflight(world, "/v1/form", "https://clinic.example")
    assert (ours.status_code, ours.headers["access-control-allow-origin"]) == (200, "https://clinic.example")
    assert ours.headers["access-control-allow-methods"] == "POST"
    for answer in (
        await preflight(world, "/v1/form", "https://evil.example"),
        await preflight(world, "/v1/form", "null"),
        await preflight(world, "/v1/form", "https://clinic.example", "DELETE"),
        await preflight(world, "/v1/things", "https://clinic.example"),
    ):
        assert answer.status_code in {400, 405}
    assert "access-control-allow-origin" not in (await preflight(world, "/v1/things", "https://clinic.example")).headers
    assert "access-control-allow-origin" not in (await preflight(world, "/v1/form", "https://evil.example")).headers


async def test_an_answer_to_the_form_may_be_read_by_its_page_alone(world: World) -> None:
    answer = await world.http.post("/v1/form", headers=FORM)
    assert answer.headers["access-control-allow-origin"] == "https://clinic.example"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-actor"] == "web-form"
    other = await world.http.post("/v1/form", headers=FORM | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in (await world.http.get("/v1/things", headers=FORM)).headers
