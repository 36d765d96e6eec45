"""At its row limit the outbox takes no more from those who can wait."""

from dataclasses import replace

from shared.messaging.backlog import Backlog
from tests.integration.web.world import THINGS, World

LIMIT = 5


async def fill(world: World, rows: int) -> None:
    await world.mongo.plumbing("outbox").insert_many(
        [{"_id": f"{number:03d}", "state": "pending", "lane": "bulk"} for number in range(rows)]
    )


async def test_creating_waits_at_the_limit_and_a_nurse_never(world: World) -> None:
    backlog = Backlog(world.mongo, LIMIT)
    world.app.state.runtime = replace(world.app.state.runtime, outbox_full=backlog.full)
    await fill(world, LIMIT - 1)
    await backlog.look()
    assert (await world.make()).status_code == 201
    await world.mongo.plumbing("outbox").insert({"_id": "last", "state": "pending", "lane": "alarm"})
    await backlog.look()
    refused = await world.make(key="k1")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert (await world.make("/v1/things/stop")).status_code == 201
    assert (await world.http.get("/v1/things")).status_code == 200
    await world.mongo.plumbing("outbox").update({"_id": "last"}, {"$set": {"state": "sent"}})
    await backlog.look()
    assert (await world.make(key="k1")).status_code == 201
    assert await world.mongo.plumbing(THINGS).count({}) == 3
