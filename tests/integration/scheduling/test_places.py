"""Hours, closures, availability and holds."""

from datetime import timedelta
from typing import Any

from shared.events.envelope import rfc3339
from shared.ids import new_id
from tests.integration.scheduling.clinic import reasons
from tests.integration.scheduling.world import World

WEEK = [{"day": day, "opens": "09:00", "closes": "17:00"} for day in ("mon", "tue", "wed", "thu", "fri")]


async def hours(world: World, resource: dict[str, Any], spans: list[dict[str, str]] | None) -> None:
    path = f"/v1/resources/{resource['id']}"
    version = (await world.ask("GET", path)).json()["version"]
    answer = await world.ask("PUT", f"{path}/hours", {"hours": spans}, etag=version)
    assert (answer.status_code, answer.json().get("hours")) == (200, spans)


async def close(world: World, resource: dict[str, Any], start_h: float, end_h: float) -> dict[str, Any]:
    path = f"/v1/resources/{resource['id']}"
    version = (await world.ask("GET", path)).json()["version"]
    now = world.clock.clinical_now()
    times = {name: rfc3339(now + timedelta(hours=h)) for name, h in (("start", start_h), ("end", end_h))}
    answer = await world.ask("POST", f"{path}/closures", times, etag=version)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def free(world: World, hours: float, minutes: int = 60, **query: Any) -> list[dict[str, Any]]:
    """From now on, `hours` ahead."""
    now = world.clock.clinical_now()
    params = {"from": rfc3339(now), "to": rfc3339(now + timedelta(hours=hours)), "minutes": minutes, **query}
    pairs = [(name, item) for name, value in params.items() for item in (value if isinstance(value, list) else [value])]
    answer = await world.ask("GET", "/v1/availability?" + "&".join(f"{n}={v}" for n, v in pairs))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_booking_keeps_to_the_hours_and_to_closures(world: World) -> None:
    room = await world.resource()
    await hours(world, room, WEEK)
    closed = await close(world, room, 3, 5)
    for start, length, code in (
        (1, 1, None),
        (2, 1.5, "resource_closed"),
        (6, 2, "outside_hours"),
        (24 * 5, 1, "outside_hours"),
    ):
        body = world.visit(room, hours=start, length=length)
        answer = await world.ask("POST", "/v1/appointments", body)
        assert (answer.status_code, reasons(answer)) == ((201, []) if code is None else (409, [code])), start
    path = f"/v1/resources/{room['id']}/closures/{closed['closures'][0]['id']}"
    assert (await world.ask("DELETE", path, etag=closed["version"])).status_code == 200
    assert (await world.ask("DELETE", path, etag=closed["version"] + 1)).status_code == 404
    await world.booked(room, hours=3)
    await hours(world, room, None)
    await world.booked(room, hours=12)


async def test_a_closure_names_what_is_booked_in_it(world: World) -> None:
    room = await world.resource()
    before, within, cancelled = [await world.booked(room, hours=h) for h in (1, 3, 4)]
    await world.act(cancelled, "cancel", {"reason_code": "clinic"})
    assert (await close(world, room, 2, 5))["affected"] == [within["id"]]
    moved = await world.act(before, "reschedule", {k: within[k] for k in ("start", "end")})
    assert (moved.status_code, sorted(reasons(moved))) == (409, ["patient_taken", "resource_closed", "resource_taken"])


async def test_a_retired_resource_is_offered_no_more(world: World) -> None:
    room = await world.resource()
    answer = await world.ask("PATCH", f"/v1/resources/{room['id']}", {"active": False}, etag=1)
    assert (answer.json()["active"], answer.json()["label"]) == (False, room["label"])
    refused = await world.ask("POST", "/v1/appointments", world.visit(room))
    assert reasons(refused) == ["resource_retired"]
    assert await free(world, 12, kinds="room") == []
    stale = await world.ask("PATCH", f"/v1/resources/{room['id']}", {"active": True}, etag=1)
    assert stale.status_code == 412


async def test_availability_is_what_can_be_booked(world: World) -> None:
    """Every slot offered can be booked; between them no start of the grid can."""
    room, chair = await world.resource(), await world.resource("chair")
    await hours(world, room, WEEK)
    await world.booked(chair, hours=2, patient_id=new_id())
    await close(world, room, 4, 5)
    items = await free(world, 12, kinds=["room", "chair"])
    now = world.clock.clinical_now()
    offered = {item["start"] for item in items}
    assert offered == {rfc3339(now + timedelta(hours=h)) for h in (0, 0.5, 1, 3, 5, 5.5, 6)}
    assert all(item["resources"] == [room["id"], chair["id"]] for item in items)
    for half in range(24):
        body = world.visit(room, chair, hours=half / 2, patient_id=new_id())
        answer = await world.ask("POST", "/v1/appointments", body)
        assert (answer.status_code == 201) == (body["start"] in offered), body["start"]
        if answer.status_code == 201:
            await world.act(answer.json(), "cancel", {"reason_code": "clinic"})


async def test_any_one_of_a_kind_will_do_and_pages_continue(world: World) -> None:
    first, second = await world.resource(), await world.resource()
    await world.booked(first, hours=1)
    assert (await free(world, 3, kinds="room", limit=2))[0]["resources"] == [first["id"]]
    at_one = next(item for item in await free(world, 3, kinds="room") if item["start"] == world.visit(hours=1)["start"])
    assert at_one["resources"] == [second["id"]]
    assert len(await free(world, 3, resources=second["id"], kinds="room")) == 2, "two rooms are needed then"
    now = world.clock.clinical_now()
    query = f"from={rfc3339(now)}&to={rfc3339(now + timedelta(hours=4))}&minutes=60&kinds=room&limit=3"
    page = (await world.ask("GET", f"/v1/availability?{query}")).json()
    assert page["next_from"] == rfc3339(now + timedelta(minutes=90))


async def test_a_query_that_makes_no_sense_is_refused(world: World) -> None:
    good = "from=2026-03-03T10:00:00Z&to=2026-03-04T10:00:00Z&minutes=60&kinds=room"
    assert (await world.ask("GET", f"/v1/availability?{good}")).status_code == 200
    for query, status in (
        (good + "&colour=red", 400),
        (good + "&limit=0", 422),
        (good.replace("2026-03-04", "2026-03-02"), 422),
        (good.replace("2026-03-04", "2026-05-04"), 422),
        (good.replace("10:00:00Z", "10:00:00"), 422),
        (good.replace("&kinds=room", ""), 422),
        (good.replace("room", "garden"), 422),
        (good.replace("=60", "=0"), 422),
        (good + f"&resources={new_id()}", 422),
    ):
        assert (await world.ask("GET", f"/v1/availability?{query}")).status_code == status, query


async def test_a_hold_ends_by_its_timer_in_real_time_or_when_it_is_given_back(world: World) -> None:
    room = await world.resource()
    wanted = world.visit(room)
    place = {name: wanted[name] for name in ("resources", "start", "end")}
    held = await world.made("/v1/holds", place)
    assert held["expires_at"] == rfc3339(world.clock.system_now() + timedelta(seconds=300))
    assert await free(world, 25, resources=room["id"]) != []
    assert wanted["start"] not in {item["start"] for item in await free(world, 26, resources=room["id"])}
    await world.pass_time(seconds=299)
    assert (await world.ask("POST", "/v1/holds", place)).status_code == 409
    await world.pass_time(seconds=2)
    assert (await world.rows("claims"), await world.rows("holds"), await world.rows("timers")) == ([], [], [])
    again = await world.made("/v1/holds", place)
    assert (await world.ask("DELETE", f"/v1/holds/{again['id']}")).status_code == 204
    assert (await world.ask("DELETE", f"/v1/holds/{again['id']}")).status_code == 404
    assert (await world.rows("claims"), await world.rows("timers")) == ([], [])


async def test_a_hold_does_not_open_another_place(world: World) -> None:
    room, other = await world.resource(), await world.resource()
    await world.booked(other, patient_id=new_id())
    wanted = world.visit(room)
    held = await world.made("/v1/holds", {name: wanted[name] for name in ("resources", "start", "end")})
    answer = await world.ask("POST", "/v1/appointments", world.visit(other, hold_id=held["id"]))
    assert reasons(answer) == ["resource_taken"]
    assert len(await world.rows("holds")) == 1, "the refused booking leaves the hold as it was"


async def test_resources_of_two_places_and_times_without_length_are_refused(world: World) -> None:
    one, two = [await world.resource(location_id=new_id()) for _ in range(2)]
    made = await world.booked(one)
    assert made["location_id"] == one["location_id"]
    for body in (
        world.visit(one, two),
        world.visit(one, one),
        world.visit({"id": new_id()}),
        world.visit(one, length=0),
        world.visit(one, length=8.1),
        world.visit(one, hours=-2),
    ):
        assert (await world.ask("POST", "/v1/appointments", body | {"patient_id": new_id()})).status_code == 422, body
