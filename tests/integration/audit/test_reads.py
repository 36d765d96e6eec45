"""Every read of patient data leaves a row: each GET of the four documents is asked of something that exists."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.plain import NO_TLS
from deploy.local.stack import CLINIC, Stack
from tests.integration.monitoring.test_nurse import ARRIVAL, BASE
from tests.support.eventually import eventually
from tests.support.operations import ALL

NOBODYS = {
    *("/v1/clinic", "/v1/clinic/locations", "/v1/clinic/services", "/v1/on-call", "/v1/staff", "/v1/staff/{staff_id}"),
    *("/v1/protocols", "/v1/protocols/{protocol_id}", "/v1/protocols/{protocol_id}/diff"),
    *("/v1/resources", "/v1/resources/{resource_id}", "/v1/holds/{hold_id}", "/v1/availability"),
}
BY_LINK = "/v1/links/{token}"  # without a token of the issuer
STREAM = "/v1/board/stream"  # never ends; its row is looked for where its frames are
READS = [
    (one.service, one.path, one.role)
    for one in ALL
    if one.method == "get" and one.path not in NOBODYS | {BY_LINK, STREAM}
]


class Desk:
    """Whoever may, at any service."""

    def __init__(self, stack: Stack, clinic: str = CLINIC) -> None:
        self.stack, self.clinic, self.client = stack, clinic, httpx.Client(verify=NO_TLS, timeout=30)

    def ask(
        self, role: str, method: str, service: str, path: str, body: Any = None, subject: str = "", **headers: str
    ) -> Any:
        bearer = {"Authorization": f"Bearer {self.stack.token(role, subject or role, self.clinic)}"}
        answer = self.client.request(method, self.stack.url(service) + path, json=body, headers=bearer | headers)
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.headers.get("content-type") == "application/json" else None

    async def first(self, path: str, service: str = "notifications") -> str:
        """The id of the first row of a list, as soon as there is one."""

        async def look() -> str:
            return "".join(row["id"] for row in self.ask("nurse", "GET", service, path)["items"][:1])

        return await eventually(look, 30)

    async def alarm(self, session_id: str) -> str:
        return await self.first(f"/v1/alarms?session_id={session_id}", "monitoring")


@pytest.fixture
def desk(stack: Stack) -> Iterator[Desk]:
    made = Desk(stack)
    yield made
    made.client.close()


async def a_life(desk: Desk) -> dict[str, str]:
    """One patient with one of everything; the ids by the names that the paths have."""
    contact = {"name": "Grace", "email": "grace@example.org"}
    inquiry = desk.ask("front_desk", "POST", "intake", "/v1/inquiries", {"contact": contact})["id"]
    patient = desk.ask("front_desk", "POST", "intake", f"/v1/inquiries/{inquiry}/convert", {"birth_year": 1980})["id"]
    path = f"/v1/patients/{patient}"
    wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
    plan = desk.ask("prescriber", "POST", "intake", f"{path}/plans", wanted)["id"]
    signed = {"document": "ketamine_treatment", "document_version": "1", "text_sha256": "0" * 64}
    consent = desk.ask("nurse", "POST", "intake", f"{path}/consents", signed)["id"]
    found = {"instrument": "cssrs", "item": 5, "level": "high"}
    desk.ask("nurse", "POST", "intake", f"{path}/risk/flag", found)
    room = desk.ask("front_desk", "POST", "scheduling", "/v1/resources", {"kind": "room", "label": "R"})["id"]
    visit = {"patient_id": patient, "kind": "consultation", "resources": [room]}
    times = {"start": "2031-03-03T15:00:00Z", "end": "2031-03-03T16:00:00Z"}
    appointment = desk.ask("front_desk", "POST", "scheduling", "/v1/appointments", visit | times)["id"]
    session = desk.ask("nurse", "POST", "monitoring", "/v1/sessions", {"patient_id": patient})["id"]
    path = f"/v1/sessions/{session}"
    for verb, body in (("check-in", ARRIVAL), ("baseline", BASE)):
        desk.ask("nurse", "POST", "monitoring", f"{path}/{verb}", body)
    collapse = {"sign": "8480-6", "value": 35, "unit": "mm[Hg]", "taken_at": "2026-01-01T00:00:00Z", "device": "m"}
    desk.ask("device", "POST", "monitoring", f"{path}/vitals", {"readings": [collapse]})
    escalation = await desk.first(f"/v1/escalations?session_id={session}")
    task = await desk.first(f"/v1/tasks?subject=patient/{patient}")
    message = await desk.first(f"/v1/messages?subject_id={inquiry}")
    ids = {"inquiry": inquiry, "patient": patient, "plan": plan, "consent": consent, "appointment": appointment}
    ids |= {
        "session": session,
        "group": session,
        "escalation": escalation,
        "task": task,
        "message": message,
        "staff": "nurse-1",
    }
    return {f"{name}_id": identifier for name, identifier in ids.items()}


async def test_every_read_of_patient_data_leaves_a_row(desk: Desk, stack: Stack) -> None:
    ids, silent = await a_life(desk), []
    desk.ask("front_desk", "PUT", "notifications", "/v1/staff-contacts/nurse-1", {"pager": "p"})
    with MongoClient[Any](stack.mongodb_uri) as client:
        for service, path, role in READS:
            reader = f"reader-{uuid4().hex}"
            desk.ask(role, "GET", service, path.format_map(ids), subject=reader)
            rows = list(client[service].audit.find({"actor": reader}))
            if len(rows) != 1 or rows[0]["role"] != role:
                silent.append((service, path, rows))
    assert silent == []
    assert len(READS) >= 25


def test_a_row_has_the_purpose_and_the_trace_of_its_request(desk: Desk, stack: Stack) -> None:
    actor, traces = f"actor-{uuid4().hex}", [uuid4().hex for _ in range(2)]
    inquiry = {"contact": {"name": "Grace", "email": "grace@example.org"}}
    asked = zip(traces, (("GET", "/v1/patients", None), ("POST", "/v1/inquiries", inquiry)), strict=True)
    for trace, (method, path, body) in asked:
        header = {"traceparent": f"00-{trace}-{'b' * 16}-01"}
        desk.ask("front_desk", method, "intake", path, body, subject=actor, **header)
    with MongoClient[Any](stack.mongodb_uri) as client:
        rows = list(client.intake.audit.find({"actor": actor}).sort("_id"))
    told = [(row["action"], row["purpose"], row["trace"].split("-")[1]) for row in rows]
    assert told == [("patients.list", "treatment", traces[0]), ("inquiry.receive", "treatment", traces[1])]
