"""The timeline: everything in one feed, stable under what comes late; corrections and moves leave a trail."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.events.envelope import rfc3339
from shared.events.monitoring import DoseCorrected, InterventionRecorded
from tests.integration.monitoring.test_after import FIT, Recovery
from tests.integration.monitoring.test_nurse import BASE, DOSE

WRONG = {"reason_code": "wrong_patient"}


@pytest.fixture(scope="module")
def nurse(stack: Stack) -> Iterator[Recovery]:
    made = Recovery(stack)
    yield made
    made.client.close()


def moved(nurse: Recovery, path: str, entry: dict[str, Any], to: str) -> Any:
    return nurse.post(f"{path}/entries/{entry['id']}/move", {"to_session_id": to.rpartition("/")[2], **WRONG})


def test_pages_are_stable_while_late_entries_come(nurse: Recovery) -> None:
    path = nurse.session("recovery")
    for number in range(5):
        nurse.observes(path, "pain", score=number)
    url, seen = f"{path}/timeline?limit=2&sort=created_at", []
    while url:
        page = nurse.client.get(url)
        seen += [item["id"] for item in page.json()["items"]]
        nurse.observes(path, "pain", score=9, occurred_at=nurse.ago(600)) if len(seen) < 8 else None
        url = page.links.get("next", {}).get("url", "")
    every = [item["id"] for item in nurse.client.get(f"{path}/timeline?limit=200&sort=created_at").json()["items"]]
    assert seen == every
    assert len(seen) == len(set(seen)) > 9


def test_a_correction_is_a_new_entry_that_names_what_it_corrects(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    wrong = nurse.post(f"{path}/interventions", {"intervention_code": "oxygen", "note": "two litres"}).json()
    right = {"reason_code": "typing_error", "intervention_code": "antiemetic", "note": "was ondansetron"}
    made = nurse.post(f"{path}/entries/{wrong['id']}/correct", right).json()
    assert (made["kind"], made["facts"]["corrects"]) == ("correction", wrong["id"])
    shown = nurse.entry(path, "intervention")
    assert (shown["facts"], shown["note"], shown["corrected_by"]) == (wrong["facts"], "two litres", made["id"])
    assert nurse.entry(path, "correction")["note"] == "was ondansetron"
    codes = [event.intervention_code for event in nurse.told(path, InterventionRecorded)]
    assert codes == ["oxygen", "antiemetic"]


def test_a_correction_is_corrected_by_one_more_of_the_same_entry(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    wrong = nurse.post(f"{path}/support", {"support_code": "music"}).json()
    first = nurse.post(f"{path}/entries/{wrong['id']}/correct", {"reason_code": "x", "support_code": "guidance"}).json()
    second = nurse.post(f"{path}/entries/{first['id']}/correct", {"reason_code": "x", "support_code": "blanket"}).json()
    assert second["facts"]["corrects"] == wrong["id"]
    assert nurse.entry(path, "support")["corrected_by"] == second["id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason_code": "x"}, "/intervention_code"),
        ({"reason_code": "x", "support_code": "music"}, "/support_code"),
        ({"reason_code": "x", "dose": {"lot": "M"}}, "/dose"),
        ({"reason_code": "x", "observation": {"observation_code": "moaas", "score": 9}}, "/observation/score"),
        ({"intervention_code": "oxygen"}, "/reason_code"),
    ],
)
def test_a_correction_that_does_not_fit_changes_nothing(nurse: Recovery, body: dict[str, Any], pointer: str) -> None:
    path = nurse.session("dosing")
    made = nurse.post(f"{path}/interventions", {"intervention_code": "oxygen"}).json()
    refused = nurse.post(f"{path}/entries/{made['id']}/correct", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text
    assert "correction" not in nurse.kinds(path)


def test_what_only_happened_cannot_be_corrected_and_strangers_are_not_found(nurse: Recovery) -> None:
    path, other = nurse.session("dosing"), nurse.session("dosing")
    checked_in, made = nurse.entry(path, "checked_in"), nurse.entry(path, "dose")
    body = {"reason_code": "x", "entered_in_error": True}
    assert nurse.post(f"{path}/entries/{checked_in['id']}/correct", body).status_code == 409
    assert nurse.post(f"{other}/entries/{made['id']}/correct", body).status_code == 404
    assert moved(nurse, path, made, path).status_code == 409


def test_a_corrected_dose_is_known_to_the_session_and_told(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    made = nurse.entry(path, "dose")
    body = {"reason_code": "typing_error", "dose": {"amount_mg": 28}}
    assert nurse.post(f"{path}/entries/{made['id']}/correct", body).status_code == 201
    (dose,) = nurse.client.get(path).json()["doses"]
    assert (dose["amount_mg"], dose["mg_per_kg"]) == (28, 0.4)
    again = body | {"dose": {"lot": "M"}}
    assert nurse.post(f"{path}/entries/{made['id']}/correct", again).status_code == 201
    events = nurse.told(path, DoseCorrected)
    assert [(event.amount, event.lot, event.given) for event in events] == [(28, "L", True), (28, "M", True)]
    assert [event.moved_at for event in events] == [None, None]


def test_a_dose_of_the_wrong_patient_moves_with_a_trail_and_both_are_watched_as_they_are(nurse: Recovery) -> None:
    path, other = nurse.session("dosing"), nurse.session("baseline")
    made = nurse.entry(path, "dose")
    new = moved(nurse, path, made, other)
    assert (new.status_code, new.json()["facts"]["moved_entry"]) == (201, made["id"])
    here, there = nurse.client.get(path).json(), nurse.client.get(other).json()
    assert (here["state"], here["doses"]) == ("baseline", [])
    assert (there["state"], there["doses"][0]["amount_mg"]) == ("dosing", DOSE["amount_mg"])
    assert nurse.entry(path, "moved_away")["facts"]["moves"] == made["id"]
    assert [event.given for event in nurse.told(path, DoseCorrected)] == [False]
    assert [event.given for event in nurse.told(other, DoseCorrected)] == [True]
    assert moved(nurse, path, made, other).json()["reasons"][0]["code"] == "gone"
    assert moved(nurse, other, new.json(), nurse.session("scheduled")).json()["reasons"][0]["code"] == "state"


def test_the_events_of_a_moved_dose_tell_when_it_was_moved(nurse: Recovery) -> None:
    path, other = nurse.session("dosing"), nurse.session("baseline")
    made, moved_at = nurse.entry(path, "dose"), nurse.ago(60)
    body = {"to_session_id": other.rpartition("/")[2], "occurred_at": moved_at, **WRONG}
    nurse.post(f"{path}/entries/{made['id']}/move", body).raise_for_status()
    for one in (path, other):
        (event,) = nurse.told(one, DoseCorrected)
        assert (rfc3339(event.moved_at), rfc3339(event.at)) == (moved_at, made["occurred_at"])


def test_a_moved_dose_takes_its_infusion_with_it(nurse: Recovery) -> None:
    path, other = nurse.arrived(minutes=100), nurse.arrived(minutes=100)
    nurse.dosed(path, occurred_at=nurse.ago(90), rate_mg_per_h=52.5).raise_for_status()
    nurse.post(f"{path}/dose/pause", {}).raise_for_status()
    assert moved(nurse, path, nurse.entry(path, "dose"), other).status_code == 201
    with MongoClient[Any](nurse.stack.mongodb_uri) as client:
        ids = [one.rpartition("/")[2] for one in (path, other)]
        here, there = (client.monitoring.sessions.find_one({"_id": one})["infusion"] for one in ids)  # type: ignore[index]
    assert (here, there["state"], there["rate_mg_per_h"]) == (None, "paused", 52.5)


def dosed_without_baseline(nurse: Recovery, minutes: float) -> str:
    """Checked in alone, and dosed so long ago: the dose was recorded for another, and was moved."""
    given, path = nurse.arrived(minutes=minutes + 5), nurse.session("checked_in")
    nurse.dosed(given, occurred_at=nurse.ago(minutes)).raise_for_status()
    assert moved(nurse, given, nurse.entry(given, "dose"), path).status_code == 201
    return path


def test_the_baseline_of_who_was_dosed_by_a_move_is_told_with_its_time_and_discharges(nurse: Recovery) -> None:
    path = dosed_without_baseline(nurse, minutes=200)
    taken = nurse.post(f"{path}/baseline", BASE | {"occurred_at": nurse.ago(203)})
    assert (taken.status_code, taken.json()["state"]) == (200, "dosing")
    nurse.post(f"{path}/dose/stop", {"occurred_at": nurse.ago(150)}).raise_for_status()
    nurse.recovered(path)
    assert nurse.post(f"{path}/discharge", FIT).status_code == 200


def test_what_was_measured_after_the_dose_is_no_baseline_and_the_discharge_says_that_there_is_none(
    nurse: Recovery,
) -> None:
    path = dosed_without_baseline(nurse, minutes=200)
    for told in ({}, {"occurred_at": nurse.ago(190)}):
        refused = nurse.post(f"{path}/baseline", BASE | told)
        found = [(error["pointer"], error["code"]) for error in refused.json()["errors"]]
        assert (refused.status_code, found) == (422, [("/occurred_at", "after_dose")])
    details = {row["code"]: row["detail"] for row in nurse.post(f"{path}/discharge", FIT).json()["reasons"]}
    assert "No baseline" in details["blood_pressure_near_baseline"]


def test_a_baseline_that_is_known_stands_once_the_dose_was_given(nurse: Recovery) -> None:
    path = nurse.recovering(minutes=70)
    again = nurse.post(f"{path}/baseline", BASE | {"systolic": 150, "occurred_at": nurse.ago(72)})
    assert (again.status_code, again.json()["reasons"][0]["code"]) == (409, "state")


def test_a_moved_note_is_read_in_its_new_place(nurse: Recovery) -> None:
    path, other = nurse.session("dosing"), nurse.session("dosing")
    made = nurse.post(f"{path}/observations", {"observation_code": "pain", "score": 3, "note": "left knee"}).json()
    assert moved(nurse, path, made, other).status_code == 201
    assert nurse.entry(other, "observation")["note"] == "left knee"


def test_a_dose_that_was_never_given_leaves_the_session_before_it(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    made = nurse.entry(path, "dose")
    body = {"reason_code": "not_given", "entered_in_error": True}
    assert nurse.post(f"{path}/entries/{made['id']}/correct", body).status_code == 201
    assert nurse.state(path) == "baseline"
    assert nurse.dosed(path).status_code == 200
