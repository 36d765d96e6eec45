"""Recovery and every way out, over HTTP: the discharge gate, dispositions, what ends with them and what does not."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.day.chair import RECOVERED
from deploy.local.stack import Stack
from services.monitoring.scales import SCALES
from shared.events.monitoring import AdverseEventReported, PatientDischarged, SessionAborted, SessionCompleted
from shared.events.registry import REGISTRY
from tests.integration.monitoring.test_nurse import AE, ARRIVAL, BASE, DOSE, Nurse

FIT = {
    "dissociation_resolved": True,
    "escort_confirmed": True,
    "aftercare": ["no_driving", "written_instructions", "emergency_contact"],
}


class Recovery(Nurse):
    """A nurse whose patients have had their dose hours ago."""

    def __init__(self, stack: Stack, role: str = "nurse") -> None:
        super().__init__(stack, role)

    def arrived(self, route: str = "iv", minutes: float = 0) -> str:
        """A session with its baseline taken so long ago."""
        opened = self.post("/v1/sessions", {"patient_id": str(uuid4()), "route": route})
        path = f"/v1/sessions/{opened.json()['id']}"
        self.post(f"{path}/check-in", ARRIVAL).raise_for_status()
        self.post(f"{path}/baseline", BASE | {"occurred_at": self.ago(minutes)}).raise_for_status()
        return path

    def dosed(self, path: str, **changed: Any) -> httpx.Response:
        """By a prescriber: nobody has told monitoring of this patient."""
        doctor = {"Authorization": f"Bearer {self.stack.token('prescriber', 'doctor-1')}"}
        return self.client.post(f"{path}/dose", json=DOSE | {"override_reason": "alone"} | changed, headers=doctor)

    def recovering(self, route: str = "iv", minutes: float = 200) -> str:
        """In recovery since so long; esketamine's own gate is no matter here, so its dose comes by a move."""
        path = self.arrived("iv" if route == "esketamine_nasal" else route, minutes + 5)
        self.dosed(path, occurred_at=self.ago(minutes)).raise_for_status()
        if route == "esketamine_nasal":
            given, path = self.entry(path, "dose"), self.arrived(route, minutes + 5)
            to = {"to_session_id": path.rpartition("/")[2], "reason_code": "wrong_patient"}
            self.post(f"/v1/sessions/{given['session']}/entries/{given['id']}/move", to).raise_for_status()
        self.post(f"{path}/dose/stop", {"occurred_at": self.ago(minutes)}).raise_for_status()
        return path

    def entry(self, path: str, kind: str) -> dict[str, Any]:
        """The newest entry of a kind, with the session that it is of."""
        newest: dict[str, Any] = self.client.get(f"{path}/timeline?kind={kind}").json()["items"][0]
        return newest | {"session": path.rpartition("/")[2]}

    def recovered(self, path: str, **changed: Any) -> None:
        """All that the gate asks for is written down."""
        for scale, items in RECOVERED.items():
            self.observes(path, scale, items=items)
        self.observes(path, "moaas", score=changed.get("moaas", 5))
        for sign, value, unit in (("8480-6", 122, "mm[Hg]"), ("8462-4", 81, "mm[Hg]"), ("59408-5", 97, "%")):
            self.measures(path, sign, value, unit)

    def measures(self, path: str, sign: str, value: float, unit: str) -> None:
        """By hand, now."""
        reading = {"sign": sign, "value": value, "unit": unit, "taken_at": self.ago(0), "device": "manual"}
        self.post(f"{path}/vitals", {"readings": [reading]}).raise_for_status()

    def observes(self, path: str, code: str, **what: Any) -> dict[str, Any]:
        answer = self.post(f"{path}/observations", {"observation_code": code, **what})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def state(self, path: str) -> str:
        return str(self.client.get(path).json()["state"])

    def kinds(self, path: str) -> list[str]:
        return [item["kind"] for item in self.client.get(f"{path}/timeline").json()["items"]]

    def told(self, path: str, kind: type[Any]) -> list[Any]:
        """The events of one type that this session's outbox rows carry."""
        with MongoClient[Any](self.stack.mongodb_uri) as client:
            rows = client.monitoring.outbox.find().sort("_id", 1)
            found = [(REGISTRY[dict(row["headers"])["ce_type"].decode()], row["value"]) for row in rows]
        events = [event.model_validate_json(value) for event, value in found if event is kind]
        return [event for event in events if event.session_id == path.rpartition("/")[2]]


def reasons(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 409, answer.text
    return {reason["code"] for reason in answer.json()["reasons"]}


@pytest.fixture(scope="module")
def nurse(stack: Stack) -> Iterator[Recovery]:
    made = Recovery(stack)
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def doctor(stack: Stack) -> Iterator[Recovery]:
    made = Recovery(stack, "prescriber")
    yield made
    made.client.close()


@pytest.mark.parametrize("route", ["iv", "im", "sublingual"])
def test_a_nurse_discharges_on_criteria_and_the_event_says_who_signed(nurse: Recovery, route: str) -> None:
    path = nurse.recovering(route)
    nurse.recovered(path)
    answer = nurse.post(f"{path}/discharge", FIT)
    assert (answer.status_code, answer.json()["state"]) == (200, "discharged")
    (event,) = nurse.told(path, PatientDischarged)
    assert (event.disposition, event.signed_by_role, event.escort_confirmed) == ("escort", "nurse", True)
    assert event.minutes_from_last_dose >= 199
    assert all(item.met for item in event.criteria)


def test_esketamine_is_signed_by_a_prescriber_alone(nurse: Recovery, doctor: Recovery) -> None:
    path = nurse.recovering("esketamine_nasal")
    nurse.recovered(path)
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"signature"}
    assert doctor.post(f"{path}/discharge", FIT).status_code == 200


def test_two_hours_of_esketamine_pass_no_override(nurse: Recovery, doctor: Recovery) -> None:
    path = nurse.recovering("esketamine_nasal", minutes=119)
    nurse.recovered(path)
    refused = doctor.post(f"{path}/discharge", FIT | {"override_reason": "clinical_judgement"})
    assert refused.json()["reasons"][0]["class"] == "absolute"
    assert reasons(refused) == {"minimum_time"}


@pytest.mark.parametrize(("sign", "value", "unit"), [("59408-5", 93, "%"), ("9279-1", 9, "/min")])
def test_shallow_breathing_keeps_esketamine_here_and_passes_no_override_rems_fda_clinical_md_2(
    nurse: Recovery, doctor: Recovery, sign: str, value: float, unit: str
) -> None:
    path = nurse.recovering("esketamine_nasal")
    nurse.recovered(path)
    nurse.measures(path, sign, value, unit)
    refused = doctor.post(f"{path}/discharge", FIT | {"override_reason": "clinical_judgement"})
    classes = {reason["code"]: reason["class"] for reason in refused.json()["reasons"]}
    assert classes["breathing_resolved"] == "absolute"


def test_shallow_breathing_elsewhere_is_for_a_prescriber_to_judge(nurse: Recovery, doctor: Recovery) -> None:
    path = nurse.recovering("iv")
    nurse.recovered(path)
    nurse.measures(path, "59408-5", 93, "%")
    assert "breathing_resolved" in reasons(nurse.post(f"{path}/discharge", FIT))
    assert doctor.post(f"{path}/discharge", FIT | {"override_reason": "copd"}).status_code == 200


def test_an_alarm_about_breathing_is_enough_though_the_newest_value_is_well(nurse: Recovery) -> None:
    path = nurse.recovering("iv")
    nurse.recovered(path)
    nurse.measures(path, "59408-5", 30, "%")
    nurse.measures(path, "59408-5", 97, "%")
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"breathing_resolved", "no_open_alarm"}


def test_a_diastolic_pressure_away_from_the_baseline_keeps_the_patient_here(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path)
    nurse.measures(path, "8462-4", 97, "mm[Hg]")
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"blood_pressure_near_baseline"}


def test_nobody_is_discharged_within_an_emergency_and_a_prescriber_judges(nurse: Recovery, doctor: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path)
    nurse.post(f"{path}/emergency", {"code": "airway"}).raise_for_status()
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"no_emergency"}
    assert doctor.post(f"{path}/discharge", FIT | {"override_reason": "another_patient"}).status_code == 200


def test_an_emergency_that_has_ended_keeps_nobody_here(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path)
    for verb in ("emergency", "emergency/end"):
        nurse.post(f"{path}/{verb}", {}).raise_for_status()
    assert nurse.post(f"{path}/discharge", FIT).status_code == 200


@pytest.mark.parametrize(("end", "body"), [("dose/stop", {}), ("abort", {"reason_code": "unwell"})])
def test_the_hour_after_an_infusion_without_a_rate_counts_from_its_end_clinical_md_5(
    nurse: Recovery, end: str, body: dict[str, Any]
) -> None:
    path = nurse.arrived(minutes=205)
    nurse.dosed(path, occurred_at=nurse.ago(200)).raise_for_status()
    running = {row["code"]: row["detail"] for row in nurse.post(f"{path}/discharge", FIT).json()["reasons"]}
    assert "/dose/stop" in running["minimum_time"]
    nurse.post(f"{path}/{end}", body).raise_for_status()
    nurse.recovered(path)
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"minimum_time"}


def test_a_stop_told_wrongly_can_be_corrected(nurse: Recovery) -> None:
    path = nurse.recovering(minutes=70)
    nurse.post(f"{path}/dose/stop", {"occurred_at": nurse.ago(10)}).raise_for_status()
    nurse.recovered(path)
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"minimum_time"}


def test_the_refusal_names_everything_that_is_missing_and_changes_nothing(nurse: Recovery) -> None:
    path = nurse.recovering(minutes=10)
    answer = nurse.post(f"{path}/discharge", {"dissociation_resolved": False, "escort_confirmed": False})
    assert reasons(answer) == {
        *("minimum_time", "aldrete", "padss", "moaas", "dissociation_resolved", "blood_pressure_near_baseline"),
        *("escort_confirmed", "aftercare_given"),
    }
    assert (nurse.state(path), "discharged" in nurse.kinds(path)) == ("recovery", False)


def test_what_was_seen_before_the_last_dose_is_no_finding(nurse: Recovery) -> None:
    path = nurse.recovering(minutes=70)
    for scale, items in RECOVERED.items():
        nurse.observes(path, scale, items=items, occurred_at=nurse.ago(80))
    nurse.observes(path, "moaas", score=5, occurred_at=nurse.ago(80))
    assert {"aldrete", "padss", "moaas"} <= reasons(nurse.post(f"{path}/discharge", FIT))


def test_findings_grow_old(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path)
    nurse.observes(path, "moaas", score=5, occurred_at=nurse.ago(31))
    assert nurse.post(f"{path}/discharge", FIT | {"occurred_at": nurse.ago(-5)}).status_code == 200
    other = nurse.recovering()
    nurse.observes(other, "moaas", score=5, occurred_at=nurse.ago(31))
    assert "moaas" in reasons(nurse.post(f"{other}/discharge", FIT))


def test_only_a_prescriber_overrides_and_it_leaves_a_trail(nurse: Recovery, doctor: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path, moaas=4)
    wanted = FIT | {"override_reason": "sleepy_by_nature"}
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"moaas", "no_open_alarm"}
    assert nurse.post(f"{path}/discharge", wanted).status_code == 403
    assert doctor.post(f"{path}/discharge", wanted).status_code == 200
    entry = doctor.entry(path, "discharged")
    assert entry["facts"]["overridden"] == ["moaas", "no_open_alarm"]
    assert entry["facts"]["override_code"] == "sleepy_by_nature"
    assert (entry["by_role"], entry["facts"]["aftercare"]) == ("prescriber", FIT["aftercare"])
    (event,) = doctor.told(path, PatientDischarged)
    assert event.override_code == "sleepy_by_nature"
    assert [item.criterion for item in event.criteria if not item.met] == ["moaas", "no_open_alarm"]


def test_a_corrected_finding_counts_as_corrected(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.recovered(path, moaas=4)
    wrong = next(
        item
        for item in nurse.client.get(f"{path}/timeline?kind=observation").json()["items"]
        if item["facts"]["observation_code"] == "moaas"
    )
    assert reasons(nurse.post(f"{path}/discharge", FIT)) == {"moaas", "no_open_alarm"}
    fixed = {"reason_code": "typing_error", "observation": {"observation_code": "moaas", "score": 5}}
    assert nurse.post(f"{path}/entries/{wrong['id']}/correct", fixed).status_code == 201
    assert nurse.post(f"{path}/discharge", FIT).status_code == 200


def test_extended_observation_is_a_longer_recovery_and_ends_nothing(nurse: Recovery) -> None:
    path = nurse.recovering()
    longer = nurse.post(f"{path}/interventions", {"intervention_code": "extended_observation"})
    assert (longer.status_code, nurse.state(path)) == (201, "recovery")
    low = {"sign": "59408-5", "value": 30, "unit": "%", "taken_at": nurse.ago(0), "device": "manual"}
    nurse.post(f"{path}/vitals", {"readings": [low]}).raise_for_status()
    alarms = nurse.client.get(f"/v1/alarms?session_id={path.rpartition('/')[2]}").json()["items"]
    assert any(alarm["open"] for alarm in alarms)


DETAILS: dict[str, dict[str, Any]] = {
    "against_advice": {"risks_explained": True, "refusal_signed": False, "accompanied": True},
    "left_unseen": {"reached": "by_phone"},
    "transferred": {"transferred_to": "emergency_department", "by_ambulance": True, "handed_over_to_role": "paramedic"},
    "died": {"certified_by_role": "emergency_physician"},
}


@pytest.mark.parametrize("disposition", sorted(DETAILS))
def test_every_other_way_out_is_a_record_of_its_own(nurse: Recovery, disposition: str) -> None:
    path, details = nurse.recovering(), DETAILS[disposition]
    answer = nurse.post(f"{path}/leave", {"disposition": disposition, **details, "note": "as witnessed"})
    assert (answer.status_code, answer.json()["state"]) == (200, "left")
    record = answer.json()["disposition"]
    assert {name: record[name] for name in ("disposition", "by_role", *details)} == {
        "disposition": disposition,
        "by_role": "nurse",
        **details,
    }
    entry = nurse.entry(path, "left")
    assert (entry["id"], entry["note"]) == (record["entry_id"], "as witnessed")
    (event,) = nurse.told(path, PatientDischarged)
    assert (event.disposition, event.escort_confirmed, event.criteria) == (disposition, False, [])


def test_a_death_is_a_serious_adverse_event(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.post(f"{path}/leave", {"disposition": "died"}).raise_for_status()
    (event,) = nurse.told(path, AdverseEventReported)
    assert (event.serious, event.severity) == (True, "severe")


def test_a_death_after_another_way_out_is_one_too_and_once(nurse: Recovery) -> None:
    path = nurse.recovering()
    for disposition in ("transferred", "died", "died"):
        nurse.post(f"{path}/leave", {"disposition": disposition}).raise_for_status()
    assert [event.serious for event in nurse.told(path, AdverseEventReported)] == [True]


def test_whoever_never_came_is_not_discharged(nurse: Recovery) -> None:
    """No aftercare is sent, and nobody is looked for."""
    path = nurse.session("scheduled")
    left = nurse.post(f"{path}/leave", {"disposition": "left_unseen"}).json()
    assert (left["state"], left["disposition"]["disposition"]) == ("left", "left_unseen")
    assert nurse.told(path, PatientDischarged) == []


def test_said_again_a_way_out_changes_nothing(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.post(f"{path}/leave", {"disposition": "transferred"}).raise_for_status()
    again = nurse.post(f"{path}/leave", {"disposition": "died"})
    assert (again.status_code, again.json()["disposition"]["disposition"]) == (200, "transferred")
    assert nurse.kinds(path).count("left") == 2


def test_an_adverse_event_has_its_times_and_is_corrected_when_it_is_over(nurse: Recovery) -> None:
    path = nurse.recovering()
    made = nurse.post(f"{path}/adverse-events", AE | {"occurred_at": nurse.ago(60)}).json()
    over = {"reason_code": "resolved", "adverse_event": {"resolved_at": nurse.ago(30)}}
    assert nurse.post(f"{path}/entries/{made['id']}/correct", over).status_code == 201
    events = nurse.told(path, AdverseEventReported)
    assert [event.resolved_at is None for event in events] == [True, False]
    early = {"reason_code": "resolved", "adverse_event": {"resolved_at": nurse.ago(90)}}
    refused = nurse.post(f"{path}/entries/{made['id']}/correct", early)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/adverse_event/resolved_at")


@pytest.mark.parametrize("name", sorted(SCALES))
def test_a_scale_is_recorded_item_by_item_and_its_total_is_computed(nurse: Recovery, name: str) -> None:
    path, scale = nurse.recovering(), SCALES[name]
    made = nurse.observes(path, name, items=dict.fromkeys(scale.items, 1))
    assert made["facts"]["score"] == len(scale.items) + scale.fixed
    assert made["facts"]["scale_version"] == scale.version
    total = nurse.post(f"{path}/observations", {"observation_code": name, "score": 10})
    assert (total.status_code, total.json()["errors"][0]["pointer"]) == (422, "/score")


@pytest.mark.parametrize("phase", ["checked_in", "baseline", "gate_open", "dosing", "recovery"])
def test_an_abort_in_each_phase_ends_what_it_should(nurse: Recovery, phase: str) -> None:
    path = nurse.session(phase)
    aborted = nurse.post(f"{path}/abort", {"reason_code": "unwell"}).json()
    dosed = phase in ("dosing", "recovery")
    assert (aborted["state"], aborted["aborted"]) == ("recovery" if dosed else "aborted", True)
    (event,) = nurse.told(path, SessionAborted)
    assert event.phase == (phase if dosed else "baseline")
    low = {"sign": "59408-5", "value": 30, "unit": "%", "taken_at": nurse.ago(0), "device": "manual"}
    nurse.post(f"{path}/vitals", {"readings": [low]}).raise_for_status()
    alarms = nurse.client.get(f"/v1/alarms?session_id={path.rpartition('/')[2]}").json()["items"]
    assert ("spo2_collapse" in {alarm["rule"] for alarm in alarms if alarm["open"]}) == dosed


def test_a_patient_is_discharged_after_an_abort_and_the_record_says_aborted(nurse: Recovery) -> None:
    path = nurse.recovering()
    nurse.post(f"{path}/abort", {"reason_code": "unwell"}).raise_for_status()
    nurse.recovered(path)
    assert nurse.post(f"{path}/discharge", FIT).json()["state"] == "discharged"
    nurse.post(f"{path}/complete").raise_for_status()
    assert [event.outcome_code for event in nurse.told(path, SessionCompleted)] == ["aborted"]


def test_a_session_without_a_dose_lasts_from_its_check_in(nurse: Recovery) -> None:
    opened = nurse.post("/v1/sessions", {"patient_id": str(uuid4()), "kind": "integration"})
    path = f"/v1/sessions/{opened.json()['id']}"
    nurse.post(f"{path}/check-in", ARRIVAL | {"occurred_at": nurse.ago(50)}).raise_for_status()
    nurse.post(f"{path}/complete").raise_for_status()
    (event,) = nurse.told(path, SessionCompleted)
    assert event.duration_min == 50
