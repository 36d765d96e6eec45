"""Nothing may stop a nurse: in every state, twice, without a key, without an ETag (architecture 4)."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.events.envelope import rfc3339

TAKEN = "2026-01-01T10:00:00Z"
AE = {"event_code": "nausea", "severity": "mild", "serious": False}
ACTS: dict[str, dict[str, Any]] = {
    "vitals": {"readings": [{"sign": "8867-4", "value": 71, "unit": "/min", "taken_at": TAKEN, "device": "m1"}]},
    "dose/pause": {},
    "dose/stop": {},
    "observations": {"observation_code": "moaas", "score": 4, "note": "says she feels well"},
    "interventions": {"intervention_code": "reassurance"},
    "adverse-events": AE,
    "emergency": {"code": "airway"},
    "emergency/log": {"log_code": "airway_opened"},
    "emergency/end": {},
    "abort": {"reason_code": "unwell"},
    "leave": {"disposition": "left_unseen"},
}
ARRIVAL = {
    "identity_confirmed": True,
    "display_label": "ADA",
    "room": "R",
    "chair": "2",
    "responsible_staff": [{"role": "nurse", "staff_id": "nurse-1"}],
    "readiness": {"fasting": True, "escort_named": True, "well_today": True},
}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}
DOSE = {"medication": "ketamine", "amount_mg": 35, "lot": "L", "expiry": "2028-01"}


class Nurse:
    """Calls monitoring with a nurse's token."""

    def __init__(self, stack: Stack, role: str = "nurse") -> None:
        self.stack = stack
        headers = {"Authorization": f"Bearer {stack.token(role, f'{role}-1')}"}
        self.client = httpx.Client(verify=NO_TLS, base_url=stack.url("monitoring"), headers=headers, timeout=10)
        self.prescriber = {"Authorization": f"Bearer {stack.token('prescriber', 'doctor-1')}"}

    def ago(self, minutes: float) -> str:
        """On the stack's own clock: another test may have had it run ahead."""
        return rfc3339(self.stack.now() - timedelta(minutes=minutes))

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers=headers)

    def session(self, state: str) -> str:
        """A session in this state."""
        opened = self.post("/v1/sessions", {"patient_id": str(uuid4())})
        path = f"/v1/sessions/{opened.json()['id']}"
        steps = {"checked_in": 1, "baseline": 2, "gate_open": 2, "dosing": 3, "recovery": 4, "left": 5, "completed": 6}
        acts: list[tuple[str, dict[str, Any]]] = [
            ("check-in", ARRIVAL),
            ("baseline", BASE | {"occurred_at": self.ago(2)}),
            ("dose", DOSE),
            ("dose/stop", {}),
        ]
        acts += [("leave", {"disposition": "transferred"}), ("complete", {})]
        for verb, body in acts[: steps.get(state, 0)]:
            # Nobody has told monitoring of this patient: the gate is opened by a prescriber.
            dosed, by = ({"override_reason": "alone"}, self.prescriber) if verb == "dose" else ({}, {})
            self.client.post(f"{path}/{verb}", json=body | dosed, headers=by).raise_for_status()
        if state == "gate_open":
            self.post(f"{path}/gate/override", {"reason_code": "alone"}, **self.prescriber).raise_for_status()
        assert self.client.get(path).json()["state"] == state
        return path


@pytest.mark.parametrize("state", ["scheduled", "checked_in", "baseline", "dosing", "recovery", "left", "completed"])
def test_every_act_is_accepted_twice_in_every_state(nurse: Nurse, state: str) -> None:
    for act, body in ACTS.items():
        path = nurse.session(state)
        for _ in range(2):
            answer = nurse.post(f"{path}/{act}", body)
            assert answer.status_code in (200, 201), (act, state, answer.text)


def test_an_alarm_is_answered_twice_while_it_is_open_and_when_it_is_over(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    collapse = {"sign": "8480-6", "value": 35, "unit": "mm[Hg]", "taken_at": "2026-01-01T00:00:00Z", "device": "m"}
    assert nurse.post(f"{path}/vitals", {"readings": [collapse]}).status_code == 200
    query = f"/v1/alarms?rule=sbp_collapse&session_id={path.rpartition('/')[2]}"
    (alarm,) = nurse.client.get(query).json()["items"]
    answers: dict[str, dict[str, Any] | None] = {"silence": {"seconds": 60}, "acknowledge": None}
    answers |= {"attend": {}, "escalate": {"occurred_at": nurse.ago(1)}}
    for ended in (False, True):
        if ended:
            nurse.post(f"{path}/leave", {"disposition": "transferred"}).raise_for_status()
            assert nurse.post(f"{path}/vitals", {"readings": [collapse | {"value": 36}]}).status_code == 200
        for verb, body in [*answers.items(), *answers.items()]:
            answer = nurse.post(f"/v1/alarms/{alarm['id']}/{verb}", body, **{"If-Match": '"v9"'})
            assert (answer.status_code, answer.json()["open"]) == (200, not ended), (verb, ended, answer.text)


def test_a_stale_etag_and_a_reused_key_do_not_stop_a_stop(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    answer = nurse.post(f"{path}/dose/stop", {}, **{"If-Match": '"v1"'})
    assert (answer.status_code, answer.json()["state"]) == (200, "recovery")


def test_equal_entries_within_a_minute_are_both_kept_and_marked(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    made = [nurse.post(f"{path}/interventions", {"intervention_code": "oxygen"}).json() for _ in range(2)]
    assert [entry["facts"].get("possible_repeat", False) for entry in made] == [False, True]
    keyed = {"Idempotency-Key": uuid4().hex}
    twice = [nurse.post(f"{path}/observations", {"observation_code": "pain", "score": 2}, **keyed) for _ in range(2)]
    assert twice[0].json()["id"] == twice[1].json()["id"]


def test_the_timeline_tells_everything_in_order_with_its_notes(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    nurse.post(f"{path}/observations", ACTS["observations"] | {"score": 5})
    nurse.post(f"{path}/dose/stop", {"occurred_at": "2026-01-01T10:00:00Z"})
    items = nurse.client.get(f"{path}/timeline").json()["items"]
    assert [item["kind"] for item in items] == ["dose_stopped", "observation", "dose", "baseline", "checked_in"]
    assert items[1]["note"] == "says she feels well"
    assert items[0]["occurred_at"] == "2026-01-01T10:00:00.000Z"


def test_the_gate_tells_every_reason_and_a_prescriber_may_override_what_can_be(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("checked_in")
    nurse.post(f"{path}/baseline", BASE | {"systolic": 150}).raise_for_status()
    gate = nurse.client.get(f"{path}/gate").json()
    codes = [reason["code"] for reason in gate["reasons"]]
    assert (gate["open"], [code for code in ("blood_pressure", "no_plan", "risk_hold") if code in codes]) == (
        False,
        ["blood_pressure", "no_plan"],
    )
    assert nurse.post(f"{path}/dose", DOSE).status_code == 409
    assert nurse.post(f"{path}/dose", DOSE | {"override_reason": "clinical_judgement"}).status_code == 403
    doctor = Nurse(stack, "prescriber")
    assert doctor.post(f"{path}/dose", DOSE | {"amount_mg": 100, "override_reason": "x"}).status_code == 409
    assert doctor.post(f"{path}/dose", DOSE | {"override_reason": "clinical_judgement"}).status_code == 200
    kinds = [item["kind"] for item in nurse.client.get(f"{path}/timeline").json()["items"]]
    assert kinds.count("gate_refused") == 2
    doctor.client.close()


def test_a_gateway_delivers_for_several_sessions_and_strangers_are_refused(nurse: Nurse) -> None:
    known = nurse.session("dosing").rpartition("/")[2]
    about = {"sign": "8867-4", "value": 71, "unit": "/min", "taken_at": "2026-01-01T10:00:00Z", "device": "m1"}
    readings = [{**about, "session_id": session} for session in (known, str(uuid4()))]
    answer = nurse.post("/v1/vitals", {"readings": readings})
    assert [row["result"] for row in answer.json()["results"]] == ["stored", "refused"]
