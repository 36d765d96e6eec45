"""Pure: which step of an escalation comes when, and whom it pages (clinical.md section 10)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from shared.protocols import Protocol


class Step(Protocol):
    role: str
    after_s: float


class EscalationPolicy(Protocol):
    """protocols/escalation.yaml; all times are clinical seconds."""

    version: str
    steps: Sequence[Step]
    repeat_after_s: float
    attend_within_s: float
    old_after_s: float

    def step(self, number: int) -> Step:
        """Beyond the last step the whole ladder's last rung repeats."""
        return self.steps[min(number, len(self.steps) - 1)]

    def due(self, started_at: datetime, number: int) -> datetime:
        """When step `number` is due, if nobody accepted before."""
        extra = max(0, number - len(self.steps) + 1)
        return started_at + timedelta(seconds=self.step(number).after_s + extra * self.repeat_after_s)


def addressees(role: str, responsible: Sequence[Mapping[str, str]], rota: Mapping[str, Sequence[str]]) -> list[str]:
    """The staff ids to page; empty means: nobody is known, take the next step at once."""
    if role == "responsible_nurse":
        return [person["staff_id"] for person in responsible if person["role"] == "nurse"]
    return list(rota.get(role, []))
