"""Readings over HTTP: lines, faults among readings, floods, too many at once, devices of others, sessions that ended."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.events.envelope import rfc3339
from tests.integration.monitoring.test_nurse import Nurse

NDJSON = {"Content-Type": "application/x-ndjson"}
ELSEWHERE = "01920000-0000-7000-8000-0000000c1111"
MARKER = "secret-marker"


def reading(stack: Stack, value: Any = 70, back_s: float = 0, **more: Any) -> dict[str, Any]:
    at = rfc3339(stack.now() - timedelta(seconds=back_s))
    return {"sign": "8867-4", "value": value, "unit": "/min", "taken_at": at, "device": "m1", **more}


def results(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["result"] for row in answer.json()["results"]]


def stored(nurse: Nurse, path: str) -> list[Any]:
    """Without what was typed into the baseline."""
    found: list[Any] = nurse.client.get(f"{path}/vitals?limit=200").json()["items"]
    return [row for row in found if row["device"] != "manual"]


def send_lines(nurse: Nurse, path: str, lines: list[bytes]) -> httpx.Response:
    return nurse.client.post(path, content=b"\n".join(lines), headers=NDJSON)


def test_lines_get_a_result_each(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("dosing")
    lines = [orjson.dumps(reading(stack, 70 + number, number)) for number in range(3)]
    answer = send_lines(nurse, f"{path}/vitals", [lines[0], b"", b"{" + MARKER.encode(), lines[1], lines[0], lines[2]])
    assert answer.headers["content-type"] == "application/x-ndjson"
    told = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [(row["line"], row["result"]) for row in told] == [
        (1, "stored"),
        (3, "refused"),
        (4, "stored"),
        (5, "duplicate"),
        (6, "stored"),
    ]
    assert MARKER not in answer.text
    assert len(stored(nurse, path)) == 3


def test_lines_of_a_gateway_name_their_device(nurse: Nurse, stack: Stack) -> None:
    path, device = nurse.session("dosing"), f"g-{uuid4().hex[:8]}"
    nurse.post(f"{path}/assignments", {"monitor": device}).raise_for_status()
    lines = [orjson.dumps(reading(stack, device=device)), orjson.dumps(reading(stack, device="nobodys"))]
    told = [orjson.loads(line) for line in send_lines(nurse, "/v1/vitals", lines).content.splitlines()]
    assert [(row["result"], row.get("reason")) for row in told] == [("stored", None), ("refused", "device_unassigned")]


def test_lines_are_taken_nowhere_else(nurse: Nurse) -> None:
    assert send_lines(nurse, "/v1/sessions", [b"{}"]).status_code == 415


def test_too_many_lines_are_refused_as_a_whole(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    assert send_lines(nurse, f"{path}/vitals", [b"{}"] * 10_001).status_code == 413
    assert stored(nurse, path) == []


def test_a_fault_in_one_reading_does_not_hold_up_its_neighbours(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("dosing")
    answer = nurse.post(f"{path}/vitals", {"readings": [reading(stack, MARKER), reading(stack, 71)]})
    assert results(answer) == ["refused", "stored"]
    assert MARKER not in answer.text
    assert [row["value"] for row in stored(nurse, path)] == [71]


def test_a_request_of_faults_is_refused_with_each_of_them(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("dosing")
    answer = nurse.post(f"{path}/vitals", {"readings": [reading(stack, MARKER), reading(stack, sign="x")]})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/readings/0/value", "/readings/1/sign"]
    assert MARKER not in answer.text
    assert stored(nurse, path) == []


def test_ten_thousand_readings_in_one_request_are_refused_and_nothing_is_stored(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("dosing")
    many = [reading(stack, 70, number / 1000, device="m" * 64) for number in range(10_000)]
    assert nurse.post(f"{path}/vitals", {"readings": many}).status_code == 413
    short = [{"sign": "8867-4", "value": 70, "unit": "/min"}] * 10_000
    answer = nurse.post(f"{path}/vitals", {"readings": short})
    assert (answer.status_code, [fault["code"] for fault in answer.json()["errors"]]) == (422, ["too_long"])
    assert stored(nurse, path) == []


def test_a_backlog_of_ten_thousand_lines_is_taken_whole(nurse: Nurse, stack: Stack) -> None:
    """Nearly three hours of one sign at 1 Hz, after the network was away."""
    path, device = nurse.session("dosing"), f"b-{uuid4().hex[:8]}"
    lines = [orjson.dumps(reading(stack, 70, 10_000 - number, device=device)) for number in range(10_000)]
    told = [orjson.loads(line) for line in send_lines(nurse, f"{path}/vitals", lines).content.splitlines()]
    assert [row["line"] for row in told] == list(range(1, 10_001))
    assert {row["result"] for row in told} == {"stored"}
    with MongoClient[Any](stack.mongodb_uri) as client:
        assert client.monitoring.vitals.count_documents({"device": device}) == 10_000


def test_a_gateway_that_floods_is_answered_and_its_abnormal_value_is_kept(nurse: Nurse, stack: Stack) -> None:
    path, calm = nurse.session("dosing"), nurse.session("dosing")
    dropped, request = 0, 0
    while not dropped:
        many = [reading(stack, 70 + number % 5, 9 - number / 1000, device="mad") for number in range(1000)]
        many[0] = reading(stack, 0, 9.5 - request / 100, device="mad")
        answer = nurse.post(f"{path}/vitals", {"readings": many})
        told = results(answer)
        assert told[0] == "stored", answer.text[:200]
        dropped += sum(row.get("reason") == "flood" for row in answer.json()["results"])
        assert results(nurse.post(f"{calm}/vitals", {"readings": [reading(stack, 70 + request)]})) == ["stored"]
        request += 1
        assert request < 30, "a flood without an end"


def test_a_session_that_ended_keeps_what_comes_and_marks_it(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("left")
    assert results(nurse.post(f"{path}/vitals", {"readings": [reading(stack, 0)]})) == ["stored"]
    assert [row["after_end"] for row in stored(nurse, path)] == [True]
    assert nurse.client.get(f"/v1/alarms?session_id={path.rpartition('/')[2]}").json()["items"] == []


def test_another_clinics_device_and_session_are_unknown_here(nurse: Nurse, stack: Stack) -> None:
    path, device = nurse.session("dosing"), f"o-{uuid4().hex[:8]}"
    nurse.post(f"{path}/assignments", {"monitor": device}).raise_for_status()
    token = stack.token("device", "gateway-2", ELSEWHERE)
    readings = [reading(stack, device=device), reading(stack, session_id=path.rpartition("/")[2])]
    answer = httpx.post(
        f"{stack.url('monitoring')}/v1/vitals",
        json={"readings": readings},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert [row["reason"] for row in answer.json()["results"]] == ["device_unassigned", "session_unknown"]
    assert stored(nurse, path) == []


def test_a_device_that_is_named_for_a_second_session_moves_there(nurse: Nurse, stack: Stack) -> None:
    first, second, device = nurse.session("dosing"), nurse.session("dosing"), f"t-{uuid4().hex[:8]}"
    for path in (first, second):
        nurse.post(f"{path}/assignments", {"monitor": device}).raise_for_status()
    sent = nurse.post("/v1/vitals", {"readings": [reading(stack, device=device)]})
    assert results(sent) == ["stored"]
    assert (len(stored(nurse, first)), len(stored(nurse, second))) == (0, 1)
    kinds = {row["kind"] for row in nurse.client.get(f"{first}/timeline").json()["items"]}
    assert "device_moved_away" in kinds


def test_a_reading_is_confirmed_rejected_and_moved_by_its_id(nurse: Nurse, stack: Stack) -> None:
    path, other = nurse.session("dosing"), nurse.session("dosing")
    made = nurse.post(f"{path}/vitals", {"readings": [reading(stack, 165), reading(stack, 70, 1)]}).json()["results"]
    assert made[0]["wanted"] == "confirm"
    assert nurse.post(f"{path}/vitals/{made[0]['id']}/confirm").json()["decision"] == "confirmed"
    assert nurse.post(f"{path}/vitals/{made[0]['id']}/artefact", {}).json()["decision"] == "artefact"
    move = {"to_session_id": other.rpartition("/")[2], "reason_code": "wrong_patient"}
    moved = nurse.post(f"{path}/vitals/{made[1]['id']}/move", move)
    assert (moved.status_code, moved.json()["moved_from"]) == (200, path.rpartition("/")[2])
    assert [row["value"] for row in stored(nurse, other)] == [70]
    assert [row["value"] for row in stored(nurse, path)] == [165]
    for verb, body in (("confirm", {}), ("artefact", {}), ("move", move)):
        assert nurse.post(f"{other}/vitals/{made[0]['id']}/{verb}", body).status_code == 404


def test_a_decision_is_seen_by_who_asks_for_what_has_changed_since(nurse: Nurse, stack: Stack) -> None:
    path = nurse.session("dosing")
    sent = nurse.post(f"{path}/vitals", {"readings": [reading(stack, 71), reading(stack, 72, 1)]}).json()["results"]
    asked = {"updated_since": rfc3339(stack.now() + timedelta(milliseconds=1))}
    assert nurse.client.get(f"{path}/vitals", params=asked).json()["items"] == []
    nurse.post(f"{path}/vitals/{sent[0]['id']}/artefact", {}).raise_for_status()
    items = nurse.client.get(f"{path}/vitals", params=asked).json()["items"]
    assert [row["id"] for row in items] == [sent[0]["id"]]
