"""One call from any state: the code clock, its log, the prompt; the page itself is shown by the journey."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from shared.events.monitoring import EmergencyCalled, EmergencyEnded
from tests.integration.monitoring.test_after import Recovery
from tests.integration.monitoring.test_nurse import ARRIVAL


@pytest.fixture(scope="module")
def nurse(stack: Stack) -> Iterator[Recovery]:
    made = Recovery(stack)
    yield made
    made.client.close()


@pytest.mark.parametrize("state", ["scheduled", "checked_in", "baseline", "dosing", "recovery", "left", "completed"])
def test_an_emergency_is_called_from_any_state_and_asks_for_the_ambulance(nurse: Recovery, state: str) -> None:
    path = nurse.session(state)
    answer = nurse.post(f"{path}/emergency", {"code": "airway"})
    assert (answer.status_code, answer.json()["prompt"]) == (201, "Call the ambulance now.")
    assert nurse.state(path) == state
    (event,) = nurse.told(path, EmergencyCalled)
    assert event.code == "airway"


def test_the_code_clock_runs_from_the_first_call_and_every_line_has_its_second(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    first = nurse.post(f"{path}/emergency", {"occurred_at": nurse.ago(2)}).json()
    again = nurse.post(f"{path}/emergency", {}).json()
    assert again["code_clock_started_at"] == first["code_clock_started_at"]
    line = nurse.post(f"{path}/emergency/log", {"log_code": "oxygen_given", "occurred_at": nurse.ago(1)}).json()
    assert 58 <= line["facts"]["code_seconds"] <= 62
    ended = nurse.post(f"{path}/emergency/end", {}).json()
    assert 118 <= ended["facts"]["code_seconds"] <= 180
    assert len(nurse.told(path, EmergencyEnded)) == 1


def test_a_second_call_is_one_more_call_and_one_more_line_and_moves_nothing(nurse: Recovery) -> None:
    """Whoever calls again means it; that one call pages nobody twice is shown in notifications."""
    path = nurse.session("dosing")
    before = nurse.client.get(path).headers["etag"]
    for _ in range(2):
        assert nurse.post(f"{path}/emergency", {"code": "airway"}).status_code == 201
    lines = nurse.client.get(f"{path}/timeline?kind=emergency_called").json()["items"]
    assert [line["facts"].get("again") for line in lines] == [True, None]
    assert len({event.at for event in nurse.told(path, EmergencyCalled)}) == 2
    assert nurse.client.get(path).headers["etag"] == before


def test_the_prompt_stands_until_the_ambulance_is_called(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    nurse.post(f"{path}/emergency", {}).raise_for_status()
    lines = ("airway_opened", "ambulance_called", "shock_given")
    prompts = [nurse.post(f"{path}/emergency/log", {"log_code": code}).json().get("prompt") for code in lines]
    assert prompts == ["Call the ambulance now.", None, None]


PROMPT = "Call the ambulance now."


def test_the_ambulance_that_was_called_first_is_not_asked_for_again(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    first = nurse.post(f"{path}/emergency/log", {"log_code": "ambulance_called"})
    call = nurse.post(f"{path}/emergency", {"code": "airway"})
    line = nurse.post(f"{path}/emergency/log", {"log_code": "airway_opened"})
    assert [answer.json().get("prompt") for answer in (first, call, line)] == [None, None, None]


def test_a_second_call_asks_for_no_ambulance_that_has_been_called(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    steps = [("", {}), ("", {}), ("/log", {"log_code": "ambulance_called"}), ("", {}), ("/end", {}), ("", {})]
    answers = [nurse.post(f"{path}/emergency{step}", body).json() for step, body in steps]
    prompts = [answer.get("prompt") for answer, (step, _) in zip(answers, steps, strict=True) if not step]
    assert prompts == [PROMPT, PROMPT, None, PROMPT]


def test_an_ambulance_of_long_before_is_none_for_what_happens_now(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    nurse.post(f"{path}/emergency/log", {"log_code": "ambulance_called", "occurred_at": nurse.ago(20)})
    assert nurse.post(f"{path}/emergency", {}).json()["prompt"] == PROMPT


def test_a_line_without_an_emergency_is_kept_and_says_so(nurse: Recovery) -> None:
    path = nurse.session("dosing")
    line = nurse.post(f"{path}/emergency/log", {"note": "bag is ready"}).json()
    assert line["facts"] == {"log_code": "other", "no_emergency": True}


def test_a_group_has_one_as_a_whole_without_a_word_about_who(nurse: Recovery) -> None:
    """Whoever calls need not know the participant: the place is the places of those who are there."""
    group = nurse.post("/v1/sessions", {"kind": "group", "route": "sublingual"}).json()["id"]
    path, patients = f"/v1/sessions/{group}", [str(uuid4()) for _ in range(3)]
    assert nurse.post(f"{path}/emergency", {}).status_code == 201
    for chair, patient in zip("21", patients, strict=False):
        joined = nurse.post(f"{path}/participants", {"patient_id": patient}).headers["location"]
        nurse.post(f"{joined}/check-in", ARRIVAL | {"chair": chair}).raise_for_status()
    nurse.post(f"{path}/participants", {"patient_id": patients[2]}).raise_for_status()
    assert nurse.post(f"{path}/emergency", {"code": "seizure"}).status_code == 201
    line = nurse.post(f"{path}/emergency/log", {"log_code": "ambulance_called", "note": "from the garden"}).json()
    assert (line.get("prompt"), "code_seconds" in line["facts"]) == (None, True)
    assert nurse.post(f"{path}/emergency/end", {}).status_code == 201
    empty, called = nurse.told(path, EmergencyCalled)
    assert [(one.room, one.chair, one.code) for one in (empty, called)] == [
        ("-", "-", "other"),
        ("R", "1, 2", "seizure"),
    ]
    told = nurse.client.get(f"{path}/timeline").json()["items"]
    assert [item["kind"] for item in told] == ["emergency_ended", "emergency_log", *["emergency_called"] * 2]
    assert told[1]["note"] == "from the garden"
    for one in (empty, called):
        assert not {one.patient_id, one.session_id} & set(patients)
