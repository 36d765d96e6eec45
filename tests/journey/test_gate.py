"""What opens and closes the dose gate is said at its owners and travels by event: intake, its alarm lane, scheduling."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.events.envelope import rfc3339
from tests.support.eventually import eventually

UNTIL = rfc3339(datetime.now(UTC) + timedelta(days=300))
CONSENT = {"document": "esketamine_treatment", "document_version": "3", "text_sha256": "ab" * 32}
APPROVAL = {"decision": "approved", "indication": "icd10:F33.2", "valid_until": UNTIL}
SUMMARY: dict[str, list[str]] = {"allergies": [], "medications": [], "problems": []}
HERE = {"no_baseline", "readiness_missing", "no_prescriber_on_site", "no_oximeter"}
NOT_TOLD = {"consent_unsigned", "no_eligibility", "summary_unknown", "rems_unknown"}


class Clinic:
    """Everybody of a clinic, and one esketamine session that nobody booked."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.client = stack, httpx.Client(verify=NO_TLS, timeout=10)
        person = {"birth_year": 1984, "contact": {"name": "G", "email": f"{uuid4().hex}@example.org"}}
        self.patient = self.ask("front_desk", "POST", "intake", "/v1/patients", person)["id"]
        opened = {"patient_id": self.patient, "route": "esketamine_nasal"}
        self.session = self.ask("nurse", "POST", "monitoring", "/v1/sessions", opened)["id"]

    def ask(self, role: str, method: str, service: str, path: str, body: Any = None, version: int | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.stack.token(role, f'{role}-1')}"}
        if version is not None:
            headers["If-Match"] = f'"v{version}"'
        answer = self.client.request(method, self.stack.url(service) + path, json=body, headers=headers)
        assert answer.is_success, (method, path, answer.text)
        return answer.json()

    def of_patient(self, role: str, method: str, path: str, body: Any, version: int | None = None) -> Any:
        return self.ask(role, method, "intake", f"/v1/patients/{self.patient}/{path}", body, version)

    def gate(self) -> dict[str, str]:
        shown = self.ask("nurse", "GET", "monitoring", f"/v1/sessions/{self.session}/gate")
        return {reason["code"]: reason["kind"] for reason in shown["reasons"] if reason["kind"] != "note"}

    async def says(self, *codes: str, without: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
        """The gate as soon as it has these reasons, and none of the others."""
        look = self._look(set(codes), without)
        return await eventually(look, 30)

    def _look(self, codes: set[str], without: set[str]) -> Callable[[], Awaitable[dict[str, str] | None]]:
        async def look() -> dict[str, str] | None:
            found = self.gate()
            return found if codes <= set(found) and not without & set(found) else None

        return look


@pytest.fixture
def clinic(stack: Stack) -> Iterator[Clinic]:
    made = Clinic(stack)
    yield made
    made.client.close()


async def test_every_owner_opens_and_closes_the_gate(clinic: Clinic) -> None:
    assert set(clinic.gate()) >= NOT_TOLD
    consent = clinic.of_patient("nurse", "POST", "consents", CONSENT)["id"]
    clinic.of_patient("prescriber", "POST", "eligibility", APPROVAL)
    clinic.of_patient("nurse", "PUT", "clinical-summary", SUMMARY, 0)
    clinic.of_patient("nurse", "PUT", "rems-enrolment", {"status": "enrolled"}, 0)
    fresh = {f"behind_{source}" for source in ("intake", "intake_alarms", "scheduling")}
    found = await clinic.says(without=NOT_TOLD | fresh)
    assert set(found) - {"site_unknown", "site_not_certified"} == HERE

    clinic.of_patient("nurse", "POST", "risk/flag", {"instrument": "cssrs", "item": 4, "level": "moderate"})
    clinic.of_patient("nurse", "PUT", "rems-enrolment", {"status": "disenrolled"}, 1)
    clinic.of_patient("nurse", "PUT", "clinical-summary", SUMMARY | {"allergies": ["rxnorm:6130"]}, 1)
    clinic.of_patient(
        "prescriber", "POST", "eligibility", APPROVAL | {"decision": "declined", "reason_codes": ["other"]}
    )
    clinic.of_patient("nurse", "POST", f"consents/{consent}/revoke", {"reason_code": "patient"})
    closed = await clinic.says("risk_hold", "rems_not_enrolled", "allergy", "not_eligible", "consent_revoked")
    assert {closed[code] for code in ("risk_hold", "rems_not_enrolled", "allergy", "consent_revoked")} == {"absolute"}


async def test_the_prescriber_on_site_is_looked_for_in_the_staff_directory(clinic: Clinic) -> None:
    person = f"doctor-{uuid4().hex[:8]}"
    entry = {"staff_id": person, "roles": ["nurse"], "locations": []}
    clinic.ask("medical_director", "POST", "scheduling", "/v1/staff", entry)
    dose = {"medication": "esketamine", "amount_mg": 28, "lot": "L", "expiry": "2099-01", "prescriber_on_site": person}
    headers = {"Authorization": f"Bearer {clinic.stack.token('nurse', 'nurse-1')}"}
    path = f"{clinic.stack.url('monitoring')}/v1/sessions/{clinic.session}"
    ready = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
    arrival = {"identity_confirmed": True, "display_label": "F", "room": "R", "chair": "1", "readiness": ready}
    arrival["responsible_staff"] = [{"role": "nurse", "staff_id": "nurse-1"}]
    clinic.ask("nurse", "POST", "monitoring", f"/v1/sessions/{clinic.session}/check-in", arrival)
    base = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}
    clinic.ask("nurse", "POST", "monitoring", f"/v1/sessions/{clinic.session}/baseline", base)

    async def refused() -> bool:
        answer = clinic.client.post(f"{path}/dose", json=dose, headers=headers)
        assert answer.status_code == 409
        return "not_a_prescriber" in {reason["code"] for reason in answer.json()["reasons"]}

    await eventually(refused, 30)
