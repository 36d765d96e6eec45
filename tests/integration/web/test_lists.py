"""Lists: every row once in any order, cursors that hold for one list only, and the trace that a read leaves."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.web.world import OTHER, THINGS, World

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def fill(world: World) -> list[str]:
    """Ten things, three at a time in one millisecond, the later made the earlier changed."""
    made = []
    for number in range(10):
        at = START + timedelta(seconds=number // 3)
        changed = START + timedelta(hours=1, seconds=-number)
        kind = "square" if number % 2 else "round"
        made.append(await world.put(number, at, changed=changed, kind=kind, open=number < 5))
    return made


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "-updated_at"])
async def test_every_row_comes_once_and_in_order(world: World, sort: str, limit: int) -> None:
    made = await fill(world)
    rows = {row["_id"]: row for row in await world.mongo.plumbing(THINGS).find({})}
    found = await world.ids(f"sort={sort}&limit={limit}")
    field = sort.removeprefix("-")
    expected = sorted(made, key=lambda name: (rows[name][field], name), reverse=sort.startswith("-"))
    assert found == expected


async def test_newest_first_is_the_order_without_a_sort(world: World) -> None:
    await fill(world)
    assert await world.ids("limit=4") == await world.ids("sort=-created_at")


async def test_what_changed_since_then_and_at_that_moment(world: World) -> None:
    made = await fill(world)
    since = "2026-03-01T12:59:55Z"
    assert set(await world.ids(f"updated_since={since}")) == set(made[:6])
    assert set(await world.ids("updated_since=2026-03-01T12:59:55.001Z")) == set(made[:5])
    assert set(await world.ids("updated_since=2026-03-01T13:59:55%2B01:00")) == set(made[:6])
    assert await world.ids(f"updated_since={since}&sort=updated_at&limit=2") == made[5::-1]


async def test_filters_have_the_type_of_what_they_filter(world: World) -> None:
    made = await fill(world)
    assert set(await world.ids("kind=square&open=true&limit=1")) == {made[1], made[3]}
    for query in ("kind=oval", "open=maybe", "kind=round%00", "kind=" + "x" * 201):
        assert (await world.http.get(f"/v1/things?{query}")).status_code == 400, query


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=-1", "limit=1.0", "limit=", "limit=²", "limit=9999999999", "other=1"),
        *("sort=label", "sort=", "sort=--created_at", "updated_since=yesterday", "updated_since=2026-03-01T12:00:00"),
        *("limit=1&limit=2", "kind=round&kind=square", "updated_since=99999999999999999999", "cursor=", "cursor=%FF"),
    ],
)
async def test_what_cannot_be_asked_is_a_bad_request(world: World, query: str) -> None:
    answer = await world.http.get(f"/v1/things?{query}")
    assert answer.status_code == 400, answer.text


async def test_a_cursor_holds_for_its_list_alone(world: World) -> None:
    await fill(world)
    asked = "sort=updated_at&kind=round&limit=2"
    cursor = (await world.http.get(f"/v1/things?{asked}")).json()["next_cursor"]
    assert (await world.http.get(f"/v1/things?{asked}&cursor={cursor}")).status_code == 200
    payload, _, mac = urlsafe_b64decode(cursor).decode().rpartition("|")
    moved = urlsafe_b64encode(f"{payload.replace('2026', '2027')}|{mac}".encode()).decode()
    refused = {
        "another sort": f"sort=created_at&kind=round&cursor={cursor}",
        "another filter": f"sort=updated_at&kind=square&cursor={cursor}",
        "no filter": f"sort=updated_at&cursor={cursor}",
        "another time": f"{asked}&updated_since=2026-03-01T12:00:00Z&cursor={cursor}",
        "changed": f"{asked}&cursor={moved}",
        "cut": f"{asked}&cursor={cursor[:-8]}",
    }
    answers = {name: (await world.http.get(f"/v1/things?{query}")).status_code for name, query in refused.items()}
    assert answers == dict.fromkeys(refused, 400)
    elsewhere = {"Authorization": f"Bearer n1@{OTHER}"}
    assert (await world.http.get(f"/v1/things?{asked}&cursor={cursor}", headers=elsewhere)).status_code == 400


async def test_another_clinic_sees_nothing(world: World) -> None:
    await fill(world)
    answer = await world.http.get("/v1/things", headers={"Authorization": f"Bearer n1@{OTHER}"})
    assert answer.json()["items"] == []


async def test_a_read_of_a_list_leaves_one_audit_row(world: World) -> None:
    await fill(world)
    await world.http.get("/v1/things?limit=2&patient_id=1")
    assert await world.mongo.plumbing("audit").find({}) == []
    await world.http.get("/v1/things?limit=2")
    (row,) = await world.mongo.plumbing("audit").find({})
    assert (row["actor"], row["action"], row["subject"], row["role"]) == ("n1", "things.list", "things", "nurse")


@pytest.mark.parametrize("sort", ["created_at", "-updated_at"])
async def test_a_page_is_read_from_an_index(world: World, sort: str) -> None:
    await fill(world)
    cursor = (await world.http.get(f"/v1/things?sort={sort}&limit=3")).json()["next_cursor"]
    await world.mongo.database.command({"profile": 2})
    try:
        assert (await world.http.get(f"/v1/things?sort={sort}&limit=3&cursor={cursor}")).status_code == 200
    finally:
        await world.mongo.database.command({"profile": 0})
    (found,) = (
        await world.mongo.database["system.profile"].find({"op": "query", "ns": {"$regex": "things$"}}).to_list(None)
    )
    assert "IXSCAN" in found["planSummary"]
    assert not found.get("hasSortStage", False)
    assert found["docsExamined"] <= 7
