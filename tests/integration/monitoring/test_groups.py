"""A group on the running system: each participant a record of its own, and nothing of one in another's."""

from typing import Any
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from tests.integration.monitoring.test_nurse import ARRIVAL, BASE, DOSE, Nurse

COLLAPSE = {"sign": "8480-6", "value": 35, "unit": "mm[Hg]", "taken_at": "2026-01-01T00:00:00Z", "device": "m"}
READS = ("", "/timeline", "/vitals", "/gate")


class Group:
    def __init__(self, nurse: Nurse) -> None:
        self.nurse = nurse
        self.id = nurse.post("/v1/sessions", {"kind": "group", "route": "sublingual"}).json()["id"]
        self.patients = [str(uuid4()) for _ in range(2)]
        self.paths = [self._joins(patient) for patient in self.patients]

    def _joins(self, patient: str) -> str:
        answer = self.nurse.post(f"/v1/sessions/{self.id}/participants", {"patient_id": patient})
        assert answer.status_code == 201, answer.text
        path = answer.headers["location"]
        assert path == f"/v1/sessions/{self.id}/participants/{answer.json()['id']}"
        return str(path)

    def doses(self, path: str) -> None:
        for verb, body in (("check-in", ARRIVAL), ("baseline", BASE)):
            self.nurse.post(f"{path}/{verb}", body).raise_for_status()
        dosed = DOSE | {"override_reason": "alone"}
        self.nurse.client.post(f"{path}/dose", json=dosed, headers=self.nurse.prescriber).raise_for_status()

    def get(self, path: str) -> Any:
        answer = self.nurse.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def group(nurse: Nurse) -> Group:
    return Group(nurse)


def test_each_participant_goes_through_its_states_alone(group: Group) -> None:
    first, second = group.paths
    group.doses(first)
    states = {row["participant_id"]: row["state"] for row in group.get(f"/v1/sessions/{group.id}")["participants"]}
    assert states == {first.rpartition("/")[2]: "dosing", second.rpartition("/")[2]: "scheduled"}
    assert group.get(f"/v1/sessions/{group.id}/participants")["items"][0]["state"] == "dosing"


def test_readings_alarms_and_entries_of_one_are_not_the_others(group: Group) -> None:
    for path in group.paths:
        group.doses(path)
    first, second = group.paths
    assert group.nurse.post(f"{first}/vitals", {"readings": [COLLAPSE]}).status_code == 200
    alarms = [group.get(f"/v1/alarms?session_id={path.rpartition('/')[2]}")["items"] for path in group.paths]
    assert [bool(rows) for rows in alarms] == [True, False]
    assert [row for row in group.get(f"{second}/vitals")["items"] if row["value"] == COLLAPSE["value"]] == []
    assert "alarm_raised" not in {row["kind"] for row in group.get(f"{second}/timeline")["items"]}
    for number, path in enumerate(group.paths):
        text = "".join(group.nurse.client.get(f"{path}{read}").text for read in READS)
        assert group.patients[1 - number] not in text


@pytest.mark.parametrize("read", READS)
def test_a_participant_is_not_found_below_another_group(group: Group, nurse: Nurse, read: str) -> None:
    other = Group(nurse)
    stranger = other.paths[0].rpartition("/")[2]
    path = f"/v1/sessions/{group.id}/participants/{stranger}"
    assert nurse.client.get(f"{path}{read}").status_code == 404
    assert nurse.post(f"{path}/abort", {"reason_code": "unwell"}).status_code == 404


def test_a_group_itself_has_nothing_that_belongs_to_a_patient(group: Group) -> None:
    path = f"/v1/sessions/{group.id}"
    assert group.nurse.post(f"{path}/check-in", ARRIVAL).status_code == 404
    assert group.nurse.post(f"{path}/vitals", {"readings": [COLLAPSE]}).status_code == 404


def test_a_session_of_one_needs_no_participant_and_may_name_it(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    identifier = path.rpartition("/")[2]
    named = f"{path}/participants/{identifier}"
    assert nurse.client.get(named).json() == nurse.client.get(path).json()
    assert nurse.post(f"{named}/dose/stop", {}).json()["state"] == "recovery"


def test_a_participant_who_was_voided_by_mistake_joins_again_with_a_record_of_its_own(group: Group) -> None:
    patient, known = group.patients[0], group.paths[0]
    joined = [known]
    for _ in range(2):
        assert group.nurse.post(f"{joined[-1]}/void", {"reason_code": "mistake"}).status_code == 200
        joined.append(group._joins(patient))
    assert len(set(joined)) == 3
    group.doses(joined[-1])
    again = group.nurse.post(f"/v1/sessions/{group.id}/participants", {"patient_id": patient})
    assert again.status_code == 409
    states = {row["participant_id"]: row["state"] for row in group.get(f"/v1/sessions/{group.id}")["participants"]}
    assert [states[path.rpartition("/")[2]] for path in joined] == ["voided", "voided", "dosing"]


def test_an_emergency_of_the_whole_group_keeps_each_of_it_here_until_it_ends(group: Group) -> None:
    path = group.paths[0]
    group.doses(path)

    def kept() -> bool:
        fit = {"dissociation_resolved": True, "escort_confirmed": True, "aftercare": []}
        answer = group.nurse.post(f"{path}/discharge", fit)
        assert answer.status_code == 409, answer.text
        return "no_emergency" in {reason["code"] for reason in answer.json()["reasons"]}

    found = [kept()]
    for verb in ("emergency", "emergency/end"):
        group.nurse.post(f"/v1/sessions/{group.id}/{verb}", {}).raise_for_status()
        found.append(kept())
    assert found == [False, True, False]


def test_nobody_takes_part_twice_and_a_stranger_learns_nothing(group: Group, stack: Stack) -> None:
    again = {"patient_id": group.patients[0]}
    assert group.nurse.post(f"/v1/sessions/{group.id}/participants", again).status_code == 409
    assert group.nurse.post(f"/v1/sessions/{uuid4()}/participants", again).status_code == 404
    bare = group.nurse.client.__class__(base_url=stack.url("monitoring"))
    assert (
        bare.get(group.paths[0]).status_code
        == bare.get(f"/v1/sessions/{group.id}/participants/{uuid4()}").status_code
        == 401
    )
    bare.close()
