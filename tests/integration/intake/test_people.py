"""Patients, inquiries and the clinic's profile."""

from typing import Any

import pytest

from shared.events import intake
from shared.ids import new_id
from tests.integration.intake.world import CONTACT, World

PROFILE = {"time_zone": "America/Denver", "languages": ["en", "es"]}
SITE = {"label": "Main", "rems_certified_until": "2027-01-01T00:00:00.000Z"}


async def test_a_patient_without_an_inquiry_is_told_and_corrected(world: World) -> None:
    _, event = await world.event(intake.PatientRegistered)
    assert (event.patient_id, event.inquiry_id, event.birth_year) == (world.patient, None, 1980)
    for version, status in ((None, 428), (9, 412)):
        answer = await world.ask("nurse", "PATCH", "{p}", {"birth_year": 1981}, version=version)
        assert answer.status_code == status
    empty = await world.ask("nurse", "PATCH", "{p}", {}, version=1)
    assert (empty.status_code, empty.json()["type"]) == (422, "urn:stillwater:problem:invalid")
    after = await world.call("nurse", "PATCH", "{p}", {"birth_year": 1981}, version=1)
    assert (after["birth_year"], after["time_zone"], after["version"]) == (1981, "America/New_York", 2)
    envelope, state = await world.event(intake.PatientState)
    assert (state.birth_year, state.time_zone, envelope.sequence) == (1981, "America/New_York", "0000000002.0001")


async def test_a_contact_is_replaced_by_who_has_read_it_and_travels_encrypted(world: World) -> None:
    new = {**CONTACT, "email": "new@example.org"}
    assert (await world.ask("patient", "PUT", "{p}/contact", new)).status_code == 428
    answer = await world.call("patient", "PUT", "{p}/contact", new, version=1)
    assert (answer["contact"]["email"], answer["version"]) == ("new@example.org", 2)
    assert (await world.ask("front_desk", "PUT", "{p}/contact", new, version=1)).status_code == 412
    assert (await world.call("front_desk", "GET", "{p}"))["contact"]["email"] == "new@example.org"
    envelope, record = await world.event(intake.ContactRecord, 2)
    assert (record.subject_id, record.version, envelope.partition_key) == (world.patient, 2, world.patient)
    assert "example.org" not in record.sealed


async def test_patients_are_listed_in_their_clinic_without_contact_data(world: World) -> None:
    first = world.patient
    second = await world.register()
    listed = (await world.call("front_desk", "GET", "/v1/patients?limit=2"))["items"]
    assert [row["id"] for row in listed] == [second, first]
    assert all("contact" not in row for row in listed)
    elsewhere = await world.ask("front_desk", "GET", "/v1/patients", clinic=new_id())
    assert elsewhere.json()["items"] == []
    assert (await world.ask("patient", "GET", "/v1/patients")).status_code == 403
    assert (await world.ask("front_desk", "GET", "/v1/patients?name=Grace")).status_code == 400


async def test_inquiries_are_found_by_state_and_channel(world: World) -> None:
    body = {"channel": "phone", "contact": CONTACT}
    made = [(await world.call("front_desk", "POST", "/v1/inquiries", body))["id"] for _ in range(2)]
    await world.call("front_desk", "POST", f"/v1/inquiries/{made[0]}/convert", {"birth_year": 1990})
    found = (await world.call("nurse", "GET", "/v1/inquiries?state=converted&channel=phone"))["items"]
    assert [row["id"] for row in found] == [made[0]]
    assert (await world.call("nurse", "GET", "/v1/inquiries?channel=email"))["items"] == []


# The clinic's profile


async def test_a_profile_is_changed_in_parts_and_told_as_a_whole(world: World) -> None:
    assert (await world.call("patient", "GET", "/v1/clinic"))["version"] == 0
    await world.call("medical_director", "PUT", "/v1/clinic", PROFILE, version=0)
    places = await world.call("operator", "PUT", "/v1/clinic/locations", {"locations": [SITE]}, version=1)
    site = places["locations"][0]
    assert site == {**SITE, "id": site["id"]}
    await world.call("medical_director", "PUT", "/v1/clinic/services", {"services": ["ketamine_iv"]}, version=2)
    kept = await world.call("medical_director", "PUT", "/v1/clinic/locations", {"locations": [site]}, version=3)
    assert kept["locations"] == [site]
    whole = await world.call("front_desk", "GET", "/v1/clinic")
    assert whole == {**PROFILE, "id": world.clinic, "locations": [site], "services": ["ketamine_iv"], "version": 4}
    assert (await world.call("nurse", "GET", "/v1/clinic/services"))["services"] == ["ketamine_iv"]
    envelope, event = await world.event(intake.ClinicChanged, 4)
    told = event.model_dump()
    assert (event.clinic_id, envelope.subject) == (world.clinic, f"clinic/{world.clinic}")
    assert {name: told[name] for name in PROFILE} == PROFILE
    assert (told["locations"][0]["id"], told["services"]) == (site["id"], ["ketamine_iv"])


PARTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/clinic", PROFILE),
    ("/v1/clinic/locations", {"locations": []}),
    ("/v1/clinic/services", {"services": []}),
]


@pytest.mark.parametrize(("path", "body"), PARTS)
async def test_a_profile_belongs_to_its_director_and_its_version(world: World, path: str, body: dict[str, Any]) -> None:
    for role in ("front_desk", "prescriber", "patient"):
        assert (await world.ask(role, "PUT", path, body, version=0)).status_code == 403
    assert (await world.ask("medical_director", "PUT", path, body)).status_code == 428
    assert (await world.ask("medical_director", "PUT", path, body, version=3)).status_code == 412
    assert (await world.call("medical_director", "GET", "/v1/clinic"))["version"] == 0


async def test_two_locations_with_one_id_are_refused(world: World) -> None:
    site = {**SITE, "id": new_id()}
    refused = await world.ask("medical_director", "PUT", "/v1/clinic/locations", {"locations": [site, site]}, version=0)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "duplicate")
