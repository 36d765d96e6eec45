"""A projection that was dropped is rebuilt from the owner's present state, without any action being taken again."""

import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.stack import CLINIC, Stack
from tests.support.eventually import eventually


def republish(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.intake", "republish", *arguments]
    return subprocess.run(
        command, env={**os.environ, **stack.environment("intake")}, capture_output=True, text=True, check=False
    )


async def test_a_dropped_projection_is_whole_again(stack: Stack) -> None:
    with MongoClient[Any](stack.mongodb_uri) as client:
        plan_id = await active_plan(stack)
        plans = client.monitoring.plans

        async def known() -> Any:
            return plans.find_one({"_id": plan_id})

        before = await eventually(known)
        booked = client.scheduling.appointments.count_documents({})
        plans.delete_many({})
        dry = republish(stack, "--type", "PlanState", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert "would be republished" in dry.stdout
        done = republish(stack, "--type", "PlanState", "--clinic", CLINIC)
        assert done.returncode == 0, done.stderr
        assert await eventually(known) == before
        assert client.scheduling.appointments.count_documents({}) == booked


def test_an_unknown_state_event_is_refused_with_those_that_exist(stack: Stack) -> None:
    refused = republish(stack, "--type", "Nonsense")
    assert refused.returncode == 2
    assert "PatientState, PlanState" in refused.stderr.replace("\n", " ")


async def active_plan(stack: Stack) -> str:
    """A plan, activated, in intake."""
    prescriber = {"Authorization": f"Bearer {stack.token('prescriber', 'doctor-1')}"}
    desk = {"Authorization": f"Bearer {stack.token('front_desk', 'desk-1')}"}
    async with httpx.AsyncClient(base_url=stack.url("intake")) as client:

        async def post(path: str, body: Any, **headers: str) -> Any:
            answer = await client.post(path, json=body, headers=headers)
            assert answer.status_code in (200, 201), answer.text
            return answer.json()

        contact = {"name": uuid4().hex, "email": "a@example.org"}
        inquiry = await post("/v1/inquiries", {"channel": "phone", "contact": contact}, **desk)
        patient = await post(f"/v1/inquiries/{inquiry['id']}/convert", {"birth_year": 1980}, **desk)
        body = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
        plan = await post(f"/v1/patients/{patient['id']}/plans", body, **prescriber)
        await post(f"/v1/plans/{plan['id']}/activate", None, **prescriber, **{"If-Match": '"v1"'})
        return str(plan["id"])


@pytest.mark.parametrize(("verb", "state"), [("pause", "held"), ("discontinue", "held")])
async def test_a_plan_that_is_held_closes_the_gate_of_monitoring(stack: Stack, verb: str, state: str) -> None:
    plan_id = await active_plan(stack)
    prescriber = {"Authorization": f"Bearer {stack.token('prescriber', 'doctor-1')}", "If-Match": '"v2"'}
    url = f"{stack.url('intake')}/v1/plans/{plan_id}/{verb}"
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, json={"reason_code": "serious_adverse_event"}, headers=prescriber)
    assert answer.status_code == 200, answer.text
    with MongoClient[Any](stack.mongodb_uri) as stores:

        async def held() -> bool:
            row = stores.monitoring.plans.find_one({"_id": plan_id})
            return row is not None and row["state"] == state

        await eventually(held)
