"""What a patient opted out of: honoured, told, and kept for each clinic by itself."""

from typing import Any

from services.notifications.store import CHANGES, PREFERENCES, preferences_key
from shared.events.notifications import ContactOptedOut
from shared.persistence.migrations import AT_ONCE, run_migrations
from shared.persistence.mongo import Document
from tests.integration.notifications.test_messages import booked
from tests.integration.notifications.world import CLINIC, PATIENT, World

ELSEWHERE = "01920000-0000-7000-8000-0000000c1111"
NOTHING, ALL = {"email": False, "sms": False}, {"email": True, "sms": True}
PATH = f"/v1/preferences/{PATIENT}"


def staff(clinic: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer front_desk:f1@{clinic}", **headers}


def of_before(clinic: str, patient: str, version: int = 1, **channels: bool) -> Document:
    """As it was written when the clinic was not in the key."""
    row: dict[str, Any] = {"_id": patient, "schema_version": 1, "version": version, "clinic_id": clinic}
    return row | NOTHING | channels


async def test_an_opt_out_is_honoured_and_told(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    async with world.client() as client:
        path, mine = f"/v1/preferences/{PATIENT}", {"Authorization": f"Bearer patient:{PATIENT}"}
        got = await client.get(path, headers=mine)
        assert (got.json(), got.headers["etag"]) == ({"email": True, "sms": True}, '"v0"')
        body = {"email": False, "sms": False}
        assert (await client.put(path, json=body, headers=mine)).status_code == 428
        assert (await client.put(path, json=body, headers={**mine, "If-Match": '"v3"'})).status_code == 412
        assert (await client.put(path, json=body, headers={**mine, "If-Match": '"v0"'})).status_code == 200
        other = {"Authorization": "Bearer patient:somebody"}
        assert (await client.get(path, headers=other)).status_code == 404
    await world.handle(booked(world))
    await world.send()
    assert world.mail.calls == world.sms.calls == []
    assert [(row["state"], row["code"]) for row in await world.rows("messages")] == [("suppressed", "opted_out")]
    assert len(await world.emitted(ContactOptedOut)) == 2


async def test_whoever_names_a_patient_in_another_clinic_takes_nothing_of_this_one(world: World) -> None:
    async with world.client() as client:
        for clinic, body in ((ELSEWHERE, ALL), (CLINIC, NOTHING)):
            answer = await client.put(PATH, json=body, headers=staff(clinic, **{"If-Match": '"v0"'}))
            assert answer.status_code == 200, answer.text
        assert (await client.get(PATH, headers=staff(ELSEWHERE))).json() == ALL
        assert (await client.get(PATH, headers=staff(CLINIC))).json() == NOTHING


async def test_an_opt_out_of_before_counts_until_it_is_moved(world: World) -> None:
    await world.mongo.plumbing(PREFERENCES).insert(of_before(CLINIC, PATIENT, version=3))
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world))
    assert [row["code"] for row in await world.rows("messages")] == ["opted_out"]
    async with world.client() as client:
        assert (await client.get(PATH, headers=staff(CLINIC))).json() == NOTHING
        again = staff(CLINIC, **{"If-Match": '"v3"'})
        assert (await client.put(PATH, json=ALL, headers=again)).status_code == 200
        assert (await client.get(PATH, headers=staff(CLINIC))).json() == ALL
    (row,) = await world.rows(PREFERENCES)
    assert (row["_id"], row["version"]) == (preferences_key(CLINIC, PATIENT), 4)


async def test_moving_them_loses_no_opt_out(world: World) -> None:
    """Nor where code of before has written one beside the one that was moved already."""
    rows = world.mongo.plumbing(PREFERENCES)
    patients = [f"p{number:03}" for number in range(AT_ONCE + 1)]
    await rows.insert_many([of_before(CLINIC, patient, version=2, sms=True) for patient in patients])
    moved = {"_id": preferences_key(CLINIC, "p000"), "schema_version": 2, "patient_id": "p000", "version": 5}
    await rows.insert(moved | {"clinic_id": CLINIC, "email": True, "sms": False})
    assert await run_migrations(world.mongo, CHANGES) == ["0001-preferences-by-clinic"]
    assert await CHANGES[0].step(world.mongo) == 0
    found = {row["_id"]: (row["version"], row["email"], row["sms"]) for row in await world.rows(PREFERENCES)}
    expected = {preferences_key(CLINIC, patient): (2, False, True) for patient in patients}
    assert found == expected | {preferences_key(CLINIC, "p000"): (5, False, False)}
