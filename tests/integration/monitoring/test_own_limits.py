"""A session's own limits and an alarm that is quiet for a while, over HTTP: who may, what is refused, what the next reading meets."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.stack import CLINIC, Stack
from shared.events.envelope import rfc3339
from tests.integration.monitoring.test_nurse import Nurse

CRITICAL = "sbp_critical_high"  # a jump of 40 bypasses its delay
WIDER: dict[str, Any] = {"limits": [{"rule": CRITICAL, "bound": 200}], "reason_code": "known_hypertension"}
FOR_A_WHILE: dict[str, Any] = {"minutes": 3, "reason_code": "being_treated"}


class Bedside(Nurse):
    def token(self, role: str, clinic: str = CLINIC) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.token(role, f'{role}-1', clinic)}"}

    def limits(self, path: str, body: Any = WIDER, role: str = "prescriber", etag: str | None = None) -> httpx.Response:
        """`etag` is the session's as it is now, unless another is named."""
        etag = self.client.get(path).headers["etag"] if etag is None else etag
        headers = self.token(role) | ({"If-Match": etag} if etag else {})
        return self.client.put(f"{path}/limits", json=body, headers=headers)

    def pressures(self, path: str, *values: float) -> None:
        """Of now, in this order."""
        for value in values:
            reading = {"sign": "8480-6", "value": value, "unit": "mm[Hg]", "device": "m1"}
            reading["taken_at"] = rfc3339(self.stack.now() - timedelta(milliseconds=1))
            self.post(f"{path}/vitals", {"readings": [reading]}).raise_for_status()

    def alarms(self, path: str, rule: str = CRITICAL) -> list[dict[str, Any]]:
        query = f"/v1/alarms?rule={rule}&session_id={path.rpartition('/')[2]}"
        found: list[dict[str, Any]] = self.client.get(query).json()["items"]
        return found

    def entries(self, path: str, kind: str) -> list[dict[str, Any]]:
        return [item["facts"] for item in self.client.get(f"{path}/timeline?kind={kind}").json()["items"]]

    def audited(self, action: str, subject: str) -> int:
        with MongoClient[Any](self.stack.mongodb_uri) as client:
            return client.monitoring.audit.count_documents({"action": action, "subject": subject})


@pytest.fixture(scope="module")
def nurse(stack: Stack) -> Iterator[Bedside]:
    made = Bedside(stack)
    yield made
    made.client.close()


def test_the_next_reading_meets_the_sessions_own_limit(nurse: Bedside) -> None:
    path = nurse.session("dosing")
    nurse.pressures(path, 120)
    assert nurse.limits(path).json()["own_limits"] == {CRITICAL: 200}
    nurse.pressures(path, 195)
    assert nurse.alarms(path) == []
    nurse.pressures(path, 120, 205)
    assert [(row["value"], row["limit"]) for row in nurse.alarms(path)] == [(205, 200)]


def test_a_tighter_one_is_met_too_and_an_empty_set_is_the_protocols_again(nurse: Bedside) -> None:
    path, tight = nurse.session("dosing"), {"limits": [{"rule": CRITICAL, "bound": 165}], "reason_code": "aneurysm"}
    assert nurse.limits(path, tight).status_code == 200
    assert nurse.limits(path, {"limits": [], "reason_code": "back"}).json()["own_limits"] == {}
    nurse.pressures(path, 120, 170)
    assert nurse.alarms(path) == []
    assert nurse.limits(path, tight).status_code == 200
    nurse.pressures(path, 120, 171)
    assert [row["limit"] for row in nurse.alarms(path)] == [165]


def test_who_changed_what_and_why_stays(nurse: Bedside) -> None:
    path = nurse.session("dosing")
    nurse.limits(path).raise_for_status()
    nurse.limits(path, {"limits": [], "reason_code": "settled"}).raise_for_status()
    newest, first = nurse.entries(path, "limits_changed")
    assert (first["before"], first["limits"], first["reason_code"]) == ({}, {CRITICAL: 200}, "known_hypertension")
    assert (newest["before"], newest["limits"], newest["reason_code"]) == ({CRITICAL: 200}, {}, "settled")
    by = nurse.client.get(f"{path}/timeline?kind=limits_changed").json()["items"][0]
    assert (by["by"], by["by_role"]) == ("prescriber-1", "prescriber")
    assert nurse.audited("session.limits", f"session/{path.rpartition('/')[2]}") == 2


@pytest.mark.parametrize(
    ("role", "status"), [("nurse", 403), ("front_desk", 403), ("device", 403), ("prescriber", 200)]
)
def test_only_a_prescriber_sets_them(nurse: Bedside, role: str, status: int) -> None:
    assert nurse.limits(nurse.session("dosing"), role=role).status_code == status


def test_a_set_that_was_read_before_another_was_written_takes_no_effect(nurse: Bedside) -> None:
    path = nurse.session("dosing")
    assert nurse.limits(path, etag="").status_code == 428
    read = nurse.client.get(path).headers["etag"]
    first = nurse.limits(path, etag=read)
    assert nurse.limits(path, {"limits": [], "reason_code": "late"}, etag=read).status_code == 412
    assert nurse.client.get(path).json()["own_limits"] == {CRITICAL: 200}
    assert nurse.limits(path, etag=first.headers["etag"]).status_code == 200


@pytest.mark.parametrize(
    ("limit", "pointer"),
    [
        ({"rule": "no_such_rule", "bound": 100}, "/limits/0/rule"),
        ({"rule": "sbp_collapse", "bound": 20}, "/limits/0/rule"),
        ({"rule": CRITICAL, "bound": 350}, "/limits/0/bound"),
        ({"rule": CRITICAL, "bound": 95}, "/limits/0/bound"),
        ({"rule": CRITICAL, "bound": -1}, "/limits/0/bound"),
        ({"rule": CRITICAL}, "/limits/0/bound"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_whole(nurse: Bedside, limit: dict[str, Any], pointer: str) -> None:
    path = nurse.session("dosing")
    refused = nurse.limits(path, {"limits": [limit, {"rule": "hr_critical_high", "bound": 150}], "reason_code": "x"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text
    assert nurse.client.get(path).json().get("own_limits") is None
    assert nurse.entries(path, "limits_changed") == []


def test_a_session_that_ended_or_belongs_to_others_has_none(nurse: Bedside) -> None:
    path = nurse.session("left")
    assert nurse.limits(path).json()["reasons"][0]["code"] == "state"
    other = nurse.token("prescriber", "clinic-2") | {"If-Match": '"v1"'}
    assert nurse.client.put(f"{path}/limits", json=WIDER, headers=other).status_code == 404
    assert nurse.client.put(f"/v1/sessions/{uuid4()}/limits", json=WIDER, headers=other).status_code == 404


def alarmed(nurse: Bedside, *values: float) -> tuple[str, dict[str, Any]]:
    """A session with one alarm, from this jump."""
    path = nurse.session("dosing")
    nurse.pressures(path, 120, *values)
    return path, nurse.alarms(path)[0]


def suppress(nurse: Bedside, alarm: str, body: Any = FOR_A_WHILE, **headers: str) -> httpx.Response:
    return nurse.post(f"/v1/alarms/{alarm}/suppress", body, **headers)


def test_a_suppressed_rule_is_quiet_at_the_next_readings_and_only_that_rule(nurse: Bedside) -> None:
    path, alarm = alarmed(nurse, 185)
    shown = suppress(nurse, alarm["id"]).json()
    assert (shown["suppressed_by"], shown["suppressed_reason"]) == ("nurse-1", "being_treated")
    assert (shown["acknowledged_by"], shown["open"]) == ("nurse-1", True)
    assert shown["raised_at"] < shown["suppressed_until"] <= rfc3339(nurse.stack.now() + timedelta(minutes=3))
    nurse.pressures(path, 120, 190)
    assert [row["id"] for row in nurse.alarms(path)] == [alarm["id"]]
    assert nurse.alarms(path)[0]["open"] is False
    nurse.pressures(path, 35)
    assert [row["priority"] for row in nurse.alarms(path, "sbp_collapse")] == ["high"]
    assert nurse.entries(path, "alarm_suppressed")[0] == {
        "alarm_id": alarm["id"],
        "minutes": 3,
        "reason_code": "being_treated",
        "rule": CRITICAL,
    }
    assert nurse.audited("alarm.suppress", f"alarm/{alarm['id']}") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"minutes": 4, "reason_code": "x"}, 409),
        ({"minutes": 0, "reason_code": "x"}, 422),
        ({"minutes": 61, "reason_code": "x"}, 422),
        ({"minutes": 3}, 422),
        ({"reason_code": "x"}, 422),
    ],
)
def test_never_without_a_limit_in_time_or_a_reason(nurse: Bedside, body: dict[str, Any], status: int) -> None:
    path, alarm = alarmed(nurse, 185)
    assert suppress(nurse, alarm["id"], body).status_code == status
    assert nurse.alarms(path)[0].get("suppressed_until") is None


def test_a_collapse_is_never_quiet_and_nobody_else_makes_it_so(nurse: Bedside) -> None:
    path, alarm = alarmed(nurse, 185)
    nurse.pressures(path, 35)
    collapse = nurse.alarms(path, "sbp_collapse")[0]["id"]
    refused = suppress(nurse, collapse)
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "not_suppressible")
    assert suppress(nurse, alarm["id"], **nurse.token("front_desk")).status_code == 403
    assert suppress(nurse, alarm["id"], **nurse.token("nurse", "clinic-2")).status_code == 404
    assert suppress(nurse, alarm["id"], Authorization="").status_code == 401
