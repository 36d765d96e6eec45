"""The staff of a clinic of their own on the running system: one night nurse with a pager, and their chairs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.events.envelope import rfc3339
from tests.integration.monitoring.test_nurse import ARRIVAL, BASE, DOSE
from tests.support.eventually import eventually


class Staff:
    """One clinic: a pager of its own, and chairs."""

    def __init__(self, stack: Stack, clinic: str) -> None:
        self.stack, self.clinic, self.pager = stack, clinic, f"pager-{clinic}-{uuid4().hex[:6]}"
        self.client = httpx.Client(verify=NO_TLS, timeout=10)
        for path, body in (
            ("staff-contacts/night-nurse", {"pager": self.pager}),
            ("on-call", {"nurse": ["night-nurse"]}),
        ):
            self._ask("medical_director", "PUT", "notifications", f"/v1/{path}", body)

    def _ask(self, role: str, method: str, service: str, path: str, body: Any = None) -> dict[str, Any]:
        bearer = {"Authorization": f"Bearer {self.stack.token(role, 'night-nurse', self.clinic)}"}
        answer = self.client.request(method, self.stack.url(service) + path, json=body, headers=bearer)
        assert answer.is_success, answer.text
        shown: dict[str, Any] = answer.json() if answer.content else {}
        return shown

    def seats(self, route: str = "iv") -> str:
        """A session under watch."""
        asked = {"patient_id": str(uuid4()), "route": route}
        opened = self._ask("nurse", "POST", "monitoring", "/v1/sessions", asked)
        path = f"/v1/sessions/{opened['id']}"
        staff = [{"role": "nurse", "staff_id": "night-nurse"}]
        self._ask("nurse", "POST", "monitoring", f"{path}/check-in", ARRIVAL | {"responsible_staff": staff})
        return path

    def doses(self, path: str, minutes_ago: float = 0) -> None:
        """By a prescriber: nobody has told monitoring of this patient."""
        before = BASE | {"occurred_at": self._ago(minutes=minutes_ago)}
        self._ask("nurse", "POST", "monitoring", f"{path}/baseline", before)
        given = {**DOSE, "override_reason": "alone", "occurred_at": self._ago(minutes=minutes_ago)}
        self._ask("prescriber", "POST", "monitoring", f"{path}/dose", given)

    def dosed_elsewhere(self, path: str, minutes_ago: float) -> None:
        """By a dose that was recorded in another session and is moved here: this route's gate is no matter."""
        other = self.seats()
        self.doses(other, minutes_ago)
        (dose,) = self._ask("nurse", "GET", "monitoring", f"{other}/timeline?kind=dose")["items"]
        to = {"to_session_id": path.rpartition("/")[2], "reason_code": "wrong_patient"}
        self._ask("nurse", "POST", "monitoring", f"{other}/entries/{dose['id']}/move", to)

    def measures(self, path: str, *, seconds_ago: float = 0, **reading: Any) -> None:
        readings = [{**reading, "taken_at": self._ago(seconds=seconds_ago)}]
        self._ask("nurse", "POST", "monitoring", f"{path}/vitals", {"readings": readings})

    def knows_since_s(self, path: str) -> float:
        """How old what others told is, at the gate; endless where one of them was never heard."""
        found = self._ask("nurse", "GET", "monitoring", f"{path}/gate")["as_of"].values()
        times = [datetime.fromisoformat(at) if at else datetime.min.replace(tzinfo=UTC) for at in found]
        return (datetime.now(UTC) - min(times)).total_seconds()

    def _ago(self, **span: float) -> str:
        return rfc3339(self.stack.now() - timedelta(**span))

    async def alarm(self, path: str, rule: str, within_s: float, *, is_open: bool = True) -> dict[str, Any]:
        """The newest of a rule that begins so, as soon as it is open, or is over."""
        query = f"/v1/alarms?session_id={path.rpartition('/')[2]}"

        async def look() -> dict[str, Any]:
            rows = self._ask("nurse", "GET", "monitoring", query)["items"]
            return next((row for row in rows if row["rule"].startswith(rule) and row["open"] is is_open), {})

        return await eventually(look, within_s)

    def pages(self, words: str) -> int:
        """So many that say this have reached the clinic."""
        rows = self.client.get(f"{self.stack.issuer}/messages", params={"kind": "pager"}).json()
        return sum(row["body"]["to"] == self.pager and words in row["body"]["text"] for row in rows)

    async def paged(self, words: str, within_s: float) -> None:
        async def look() -> bool:
            return self.pages(words) > 0

        await eventually(look, within_s)
