"""A page is answered: by its link or by the API, once."""

import asyncio

from shared.events.notifications import EscalationAcknowledged
from tests.integration.notifications.world import CLINIC, World

ROTA = {"nurse": ["n1"], "prescriber": ["p1"]}


async def _link(world: World) -> str:
    await world.send()
    return str(world.pager.calls[-1][2]["alarm"]["link"])


async def test_opening_a_link_shows_and_pressing_the_button_acts_once(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    link = await _link(world)
    async with world.client() as client:
        for _ in range(3):
            shown = await client.get(link)
        assert shown.status_code == 200
        assert "<form" in shown.text
        assert "<script" not in shown.text
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert (await world.rows("escalations"))[0]["phase"] == "paging"
        answers = await asyncio.gather(*(client.post(link) for _ in range(4)))
        assert [row.status_code for row in answers] == [200] * 4
    acknowledged = await world.emitted(EscalationAcknowledged)
    assert len(acknowledged) == 1
    assert b'"by":"n1"' in acknowledged[0]["value"]
    await world.pass_time(59)
    assert world.pager.addressees == ["pager-n1"]
    await world.pass_time(2)
    async with world.client() as client:
        await client.post(link)
    assert (await world.rows("escalations"))[0]["phase"] == "paging", "a spent link does not act on a resumed run"


async def test_an_expired_and_an_unknown_link_act_on_nothing(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm(priority="low"))
    link = await _link(world)
    async with world.client() as client:
        world.clock.rate = 60
        world.clock.advance(13 * 3600)
        assert (await client.get(link)).status_code == 200, "a quarter of an hour of real time"
        world.clock.rate = 1
        world.clock.advance(13 * 3600)
        assert (await client.post(link)).status_code == 410
        assert (await client.get(link)).status_code == 410
        assert (await client.post(link + "x")).status_code == 404
    assert await world.emitted(EscalationAcknowledged) == []


async def test_the_token_is_stored_only_as_a_hash(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    token = (await _link(world)).rpartition("/")[2]
    for name in await world.mongo.database.list_collection_names():
        assert token not in str(await world.rows(name)), name


async def test_acknowledging_by_the_api(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    headers = {"Authorization": "Bearer nurse:n2"}
    async with world.client() as client:
        listed = (await client.get("/v1/escalations?phase=paging", headers=headers)).json()["items"]
        path = f"/v1/escalations/{listed[0]['id']}/acknowledge"
        answers = [await client.post(path, headers=headers) for _ in range(2)]
        assert [row.json()["state"] for row in answers] == ["accepted", "accepted"]
        assert (await client.post(path, headers={"Authorization": "Bearer patient:x"})).status_code == 403
    rows = await world.emitted(EscalationAcknowledged)
    assert len(rows) == 1
    assert b'"channel":"api"' in rows[0]["value"]
    assert [row["clinic_id"] for row in await world.rows("escalations")] == [CLINIC]
