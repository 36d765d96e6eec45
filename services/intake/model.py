"""Intake's rules: a transition returns the changed document or raises Conflict that says what is missing."""

from collections.abc import Mapping
from datetime import datetime

from shared.errors import Conflict, FieldError, Invalid
from shared.persistence.mongo import Document
from shared.protocols import Protocol


class RouteTemplate(Protocol):
    medication: str
    ceiling_mg_per_kg: float
    min_gap_hours: int


class PlanProtocol(Protocol):
    """protocols/plans.yaml (clinical.md section 5)."""

    version: str
    routes: Mapping[str, RouteTemplate]


def template_for(protocol: PlanProtocol, route: str, dose_mg_per_kg: float) -> RouteTemplate:
    """Raises Invalid for a route without template and for a dose above the route's ceiling."""
    template = protocol.routes.get(route)
    if template is None:
        raise Invalid(errors=[FieldError("/route", "has no plan template in this clinic", "route_unknown")])
    if dose_mg_per_kg > template.ceiling_mg_per_kg:
        words = f"is above the ceiling of {template.ceiling_mg_per_kg:g} mg/kg for this route"
        raise Invalid(errors=[FieldError("/dose_mg_per_kg", words, "above_ceiling")])
    return template


def changed(document: Document, now: datetime, **fields: object) -> Document:
    """The next version of a document."""
    return {**document, **fields, "version": document["version"] + 1, "updated_at": now}


def convert(inquiry: Document, patient_id: str, now: datetime) -> Document:
    if inquiry["state"] != "open":
        raise Conflict(
            reasons=[{"code": f"inquiry_{inquiry['state']}", "detail": "Only an open inquiry is converted."}]
        )
    return changed(inquiry, now, state="converted", patient_id=patient_id, contact=None)


def erase(inquiry: Document, now: datetime) -> Document:
    if inquiry["state"] == "converted":
        reason = {"code": "inquiry_converted", "detail": "The person is a patient now: erase the patient."}
        raise Conflict(reasons=[reason])
    return changed(inquiry, now, state="erased", contact=None)


def activate(plan: Document, now: datetime) -> Document:
    if plan["state"] != "draft":
        raise Conflict(reasons=[{"code": f"plan_{plan['state']}", "detail": "Only a draft is activated."}])
    return changed(plan, now, state="active")


PLAN_MOVES: dict[str, dict[str, str]] = {
    "pause": {"active": "paused"},
    "resume": {"paused": "active"},
    "discontinue": {"draft": "discontinued", "active": "discontinued", "paused": "discontinued"},
}


def move_plan(plan: Document, verb: str, now: datetime) -> Document:
    """The plan after `verb`. Raises Conflict that names what would be needed."""
    allowed = PLAN_MOVES[verb]
    if plan["state"] not in allowed:
        detail = f"The plan is {plan['state']}; {verb} needs {' or '.join(sorted(allowed))}."
        raise Conflict(reasons=[{"code": f"plan_{plan['state']}", "detail": detail}])
    return changed(plan, now, state=allowed[plan["state"]])


def count_session(plan: Document, session_id: str, now: datetime) -> Document | None:
    """The plan after one more dosing session; None when this session is counted already."""
    if session_id in plan["session_ids"]:
        return None
    sessions = [*plan["session_ids"], session_id]
    state = "completed" if len(sessions) >= plan["session_count"] else plan["state"]
    return changed(plan, now, session_ids=sessions, state=state)
