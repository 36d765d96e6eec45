"""Doses, waste and the substances log on the running system; an abort in each phase."""

import csv
import io
from typing import Any

import pytest

from deploy.local.stack import Stack
from tests.integration.monitoring.test_nurse import ARRIVAL, DOSE, Nurse

WASTE: dict[str, Any] = {"medication": "ketamine", "amount_mg": 15, "lot": "L", "witness": "nurse-2"}


@pytest.mark.parametrize(
    ("state", "after"),
    [
        ("scheduled", "aborted"),
        ("checked_in", "aborted"),
        ("baseline", "aborted"),
        ("dosing", "recovery"),
        ("recovery", "recovery"),
    ],
)
def test_an_abort_in_each_phase_ends_the_session_only_before_a_dose(nurse: Nurse, state: str, after: str) -> None:
    path = nurse.session(state)
    session = nurse.post(f"{path}/abort", {"reason_code": "unwell"}).json()
    assert (session["state"], session["aborted"]) == (after, True)
    if after == "recovery":
        again = nurse.client.post(f"{path}/dose", json=DOSE | {"override_reason": "alone"}, headers=nurse.prescriber)
        assert (again.status_code, again.json()["reasons"][0]["code"]) == (409, "aborted")
        assert nurse.post(f"{path}/leave", {"disposition": "transferred"}).json()["state"] == "left"


@pytest.mark.parametrize(
    ("state", "status"), [("scheduled", 200), ("baseline", 200), ("dosing", 409), ("recovery", 409)]
)
def test_void_is_for_what_was_opened_by_mistake_and_never_after_a_dose(nurse: Nurse, state: str, status: int) -> None:
    assert nurse.post(f"{nurse.session(state)}/void", {"reason_code": "mistake"}).status_code == status


def test_an_infusion_is_changed_only_while_it_runs(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    steps = [("rate", {"rate_mg_per_h": 40}), ("pause", {}), ("resume", {}), ("stop", {"given_mg": 20})]
    for verb, body in steps:
        assert nurse.post(f"{path}/dose/{verb}", body).status_code == 200, verb
    assert nurse.post(f"{path}/dose/resume", {}).json()["reasons"][0]["code"] == "no_running_dose"
    assert nurse.post(f"{path}/dose/pause", {}).status_code == 200
    kinds = [item["kind"] for item in nurse.client.get(f"{path}/timeline").json()["items"]]
    assert kinds[:5] == ["dose_paused", "dose_stopped", "dose_resumed", "dose_paused", "dose_rate"]


def test_who_may_give_no_dose_lets_no_more_of_it_flow(nurse: Nurse, stack: Stack) -> None:
    path, therapist = nurse.session("dosing"), Nurse(stack, "clinician")
    asked = {
        verb: therapist.post(f"{path}/dose/{verb}", {}).status_code for verb in ("rate", "pause", "resume", "stop")
    }
    assert asked == {"rate": 403, "pause": 200, "resume": 403, "stop": 200}
    therapist.client.close()


@pytest.mark.parametrize("change", [{"witness": "nurse-1"}, {"amount_mg": 0}, {"witness": ""}, {"note": "x"}])
def test_waste_needs_another_person_and_an_amount(nurse: Nurse, change: dict[str, Any]) -> None:
    assert nurse.post(f"{nurse.session('dosing')}/waste", WASTE | change).status_code == 422


def test_nothing_is_wasted_before_check_in(nurse: Nurse) -> None:
    assert nurse.post(f"{nurse.session('scheduled')}/waste", WASTE).status_code == 409


def test_the_log_of_a_day_has_the_dose_and_the_waste_of_this_clinic(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    wasted = nurse.post(f"{path}/waste", WASTE | {"occurred_at": "2021-05-04T12:00:00Z"})
    assert wasted.status_code == 201
    answer = nurse.client.get("/v1/controlled-substances.csv?day=2021-05-04")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = [row for row in csv.DictReader(io.StringIO(answer.text)) if row["session_id"] == path.rpartition("/")[2]]
    assert [(row["kind"], row["amount_mg"], row["by"], row["witness"]) for row in rows] == [
        ("waste", "15.0", "nurse-1", "nurse-2")
    ]


def logged(nurse: Nurse, path: str, day: str) -> list[dict[str, str]]:
    text = nurse.client.get(f"/v1/controlled-substances.csv?day={day}").text
    return [row for row in csv.DictReader(io.StringIO(text)) if row["session_id"] == path.rpartition("/")[2]]


def test_a_wrong_waste_is_corrected_with_a_trail_that_the_log_shows(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    wasted = nurse.post(f"{path}/waste", WASTE | {"occurred_at": "2021-05-05T12:00:00Z"}).json()
    body = {"reason_code": "typing_error", "waste": {"amount_mg": 5}}
    made = nurse.post(f"{path}/entries/{wasted['id']}/correct", body)
    assert (made.status_code, made.json()["facts"]["corrects"]) == (201, wasted["id"]), made.text
    told = ("kind", "amount_mg", "witness", "status", "corrects")
    before = [tuple(row[name] for name in told) for row in logged(nurse, path, "2021-05-05")]
    assert before == [
        ("waste", "15.0", "nurse-2", "corrected", ""),
        ("waste", "5.0", "nurse-2", "counts", wasted["id"]),
    ]
    never = {"reason_code": "wrong_patient", "entered_in_error": True}
    assert nurse.post(f"{path}/entries/{made.json()['id']}/correct", never).status_code == 201
    assert [row["status"] for row in logged(nurse, path, "2021-05-05")] == ["corrected", "corrected", "error"]
    assert nurse.post(f"{path}/entries/{wasted['id']}/correct", body).json()["reasons"][0]["code"] == "gone"


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"waste": {"witness": "nurse-1"}}, "/waste/witness"),
        ({"waste": {"amount_mg": -1}}, "/waste/amount_mg"),
        ({"dose": {"amount_mg": 5}}, "/dose"),
        ({}, "/waste"),
    ],
)
def test_a_correction_of_waste_needs_another_person_and_an_amount_too(
    nurse: Nurse, part: dict[str, Any], pointer: str
) -> None:
    path = nurse.session("dosing")
    wasted = nurse.post(f"{path}/waste", WASTE).json()
    refused = nurse.post(f"{path}/entries/{wasted['id']}/correct", {"reason_code": "x", **part})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text
    stand_in = {"Authorization": f"Bearer {nurse.stack.token('nurse', WASTE['witness'])}"}
    body = {"reason_code": "x", "waste": {"amount_mg": 5}}
    alone = nurse.client.post(f"{path}/entries/{wasted['id']}/correct", json=body, headers=stand_in)
    assert alone.json()["errors"][0]["pointer"] == "/waste/witness"


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("day=yesterday", 422), ("day=2021-05-04&clinic=another", 404), ("day=0001-01-01", 422)],
)
def test_a_log_that_cannot_be_told_says_why(nurse: Nurse, query: str, status: int) -> None:
    assert nurse.client.get(f"/v1/controlled-substances.csv?{query}").status_code == status


def test_a_session_without_a_dose_has_no_gate_and_the_api_document_says_so(nurse: Nurse) -> None:
    opened = nurse.post("/v1/sessions", {"kind": "wellness", "patient_id": "0190a1b2-0000-7000-8000-000000000001"})
    answer = nurse.client.get(f"/v1/sessions/{opened.json()['id']}/gate")
    assert (answer.status_code, [reason["code"] for reason in answer.json()["reasons"]]) == (409, ["kind"])
    documented = nurse.client.get("/openapi.json").json()["paths"]["/v1/sessions/{session_id}/gate"]["get"]
    assert "409" in documented["responses"]


def test_another_kind_of_session_ends_without_a_dose(nurse: Nurse) -> None:
    opened = nurse.post("/v1/sessions", {"kind": "wellness", "patient_id": "0190a1b2-0000-7000-8000-000000000001"})
    path = f"/v1/sessions/{opened.json()['id']}"
    nurse.post(f"{path}/check-in", ARRIVAL).raise_for_status()
    assert nurse.post(f"{path}/complete").json()["state"] == "completed"
    opened = nurse.post("/v1/sessions", {"kind": "integration"})
    assert opened.status_code == 422
