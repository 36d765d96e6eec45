"""The session's states as one table; a forbidden transition says what is missing."""

from collections.abc import Sequence
from datetime import datetime

from services.monitoring.alarms import Rule
from services.monitoring.discharge import DischargeRules
from shared.errors import Conflict
from shared.persistence.mongo import Document
from shared.protocols import Protocol

TRANSITIONS: dict[str, dict[str, str]] = {
    "check_in": {"scheduled": "checked_in"},
    "baseline": {"checked_in": "baseline", "baseline": "baseline"},
    "dose": {"baseline": "dosing", "dosing": "dosing"},
    "discharge": {"dosing": "discharged"},
    "complete": {"discharged": "completed"},
}
OPEN = ("checked_in", "baseline", "dosing")


class Gate(Protocol):
    max_systolic: float
    max_diastolic: float


class SessionProtocol(Protocol):
    """protocols/iv.yaml; a session pins the version that it began with."""

    version: str
    route: str
    ceiling_mg_per_kg: float
    gate: Gate
    rules: Sequence[Rule]
    discharge: DischargeRules


def move(session: Document, step: str, now: datetime, **fields: object) -> Document:
    """The session after `step`. Raises Conflict."""
    allowed = TRANSITIONS[step]
    state = session["state"]
    if state not in allowed:
        needed = " or ".join(sorted(allowed))
        reason = {"code": "state", "detail": f"The session is {state}; {step.replace('_', '-')} needs {needed}."}
        raise Conflict(reasons=[reason])
    return {**session, **fields, "state": allowed[state], "version": session["version"] + 1, "updated_at": now}


def gate_reasons(
    session: Document, plan: Document | None, mg_per_kg: float, protocol: SessionProtocol
) -> list[dict[str, str]]:
    """Every reason against the dose (clinical.md 3.3, 5); empty when the gate is open."""
    baseline, reasons = session["baseline"] or {}, []
    if session["plan_id"] and plan is None:
        reasons.append({"code": "plan_unknown", "detail": "No active treatment plan is known here."})
    if baseline and (
        baseline["systolic"] > protocol.gate.max_systolic or baseline["diastolic"] > protocol.gate.max_diastolic
    ):
        reasons.append(
            {"code": "blood_pressure", "detail": "The baseline blood pressure is above the protocol's limit."}
        )
    if mg_per_kg > protocol.ceiling_mg_per_kg:
        reasons.append({"code": "above_ceiling", "detail": "The dose is above the ceiling of this route."})
    if plan and mg_per_kg > plan["dose_mg_per_kg"] * 1.1:
        reasons.append({"code": "above_plan", "detail": "The dose is more than 10 % above the plan."})
    if not session["readiness"]["escort_named"]:
        reasons.append({"code": "no_escort", "detail": "No escort is named (clinical.md 5)."})
    return reasons
