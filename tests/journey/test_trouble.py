"""When it goes wrong at the chair, on the running system: a serious adverse event pauses the plan; an emergency calls all."""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from tests.integration.audit.test_reads import Desk
from tests.integration.monitoring.test_nurse import ARRIVAL, BASE, DOSE
from tests.support.eventually import eventually

STAFF = ("nurse", "prescriber", "medical_director")
CALLS = 5


@pytest.fixture
def desk(stack: Stack) -> Iterator[Desk]:
    made = Desk(stack)
    yield made
    made.client.close()


async def a_plan(desk: Desk) -> tuple[str, str]:
    """A patient with an active plan that monitoring has heard of."""
    contact = {"birth_year": 1984, "contact": {"name": "J", "email": f"{uuid4().hex}@example.org"}}
    patient = desk.ask("front_desk", "POST", "intake", "/v1/patients", contact)["id"]
    wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
    plan = desk.ask("clinician", "POST", "intake", f"/v1/patients/{patient}/plans", wanted)["id"]
    desk.ask("prescriber", "POST", "intake", f"/v1/plans/{plan}/activate", **{"If-Match": '"v1"'})
    return patient, plan


def a_session(desk: Desk, patient: str, plan: str) -> str:
    opened = desk.ask("nurse", "POST", "monitoring", "/v1/sessions", {"patient_id": patient, "plan_id": plan})
    path = f"/v1/sessions/{opened['id']}"
    desk.ask("nurse", "POST", "monitoring", f"{path}/check-in", ARRIVAL)
    desk.ask("nurse", "POST", "monitoring", f"{path}/baseline", BASE)
    return path


async def gate_codes(desk: Desk, path: str, *, wanted: str, there: bool) -> list[str]:
    """The gate's reasons as soon as this one is among them, or is not."""

    async def look() -> list[str]:
        codes = [row["code"] for row in desk.ask("nurse", "GET", "monitoring", f"{path}/gate")["reasons"]]
        return [*codes, ""] if (wanted in codes) is there else []

    return await eventually(look, 30)


async def test_a_serious_adverse_event_pauses_the_plan_and_closes_the_next_gate(desk: Desk) -> None:
    patient, plan = await a_plan(desk)
    path = a_session(desk, patient, plan)
    await gate_codes(desk, path, wanted="plan_unknown", there=False)
    dose = DOSE | {"override_reason": "clinical_judgement"}
    desk.ask("prescriber", "POST", "monitoring", f"{path}/dose", dose)
    mild = {"event_code": "nausea", "severity": "mild", "serious": False}
    desk.ask("nurse", "POST", "monitoring", f"{path}/adverse-events", mild)
    grave = {"event_code": "seizure", "severity": "severe", "serious": True}
    desk.ask("nurse", "POST", "monitoring", f"{path}/adverse-events", grave)

    async def paused() -> dict[str, Any]:
        found: dict[str, Any] = desk.ask("clinician", "GET", "intake", f"/v1/plans/{plan}")
        return found if found["state"] == "paused" else {}

    assert (await eventually(paused, 30))["state"] == "paused"
    next_one = a_session(desk, patient, plan)
    await gate_codes(desk, next_one, wanted="plan_not_active", there=True)
    refused = desk.client.post(
        desk.stack.url("monitoring") + f"{next_one}/dose",
        json=dose,
        headers={"Authorization": f"Bearer {desk.stack.token('prescriber', 'prescriber')}"},
    )
    assert refused.status_code == 409
    assert "plan_not_active" in {row["code"] for row in refused.json()["reasons"]}


async def test_one_call_pages_all_staff_within_a_second(desk: Desk) -> None:
    pagers = {person: f"pager-{person}-{uuid4().hex[:6]}" for person in STAFF}
    for person, pager in pagers.items():
        contact = {"pager": pager}
        desk.ask("medical_director", "PUT", "notifications", f"/v1/staff-contacts/{person}-trouble", contact)
    path = a_session(desk, str(uuid4()), str(uuid4()))
    took = []
    for _ in range(CALLS):
        known = len(desk.client.get(f"{desk.stack.issuer}/messages").json())
        began = time.monotonic()
        called = desk.ask("nurse", "POST", "monitoring", f"{path}/emergency", {"code": "airway"})

        async def reached(since: int = known) -> set[str]:
            rows = desk.client.get(f"{desk.stack.issuer}/messages", params={"kind": "pager", "since": since}).json()
            missing = set(pagers.values()) - {row["body"]["to"] for row in rows}
            return set() if missing else set(pagers.values())

        await eventually(reached, 10)
        took.append(time.monotonic() - began)
        assert called["prompt"] == "Call the ambulance now."
    print(f"from the call to the last page: median {median(took) * 1000:.0f} ms of {CALLS} calls")  # noqa: T201
    assert median(took) < 1
