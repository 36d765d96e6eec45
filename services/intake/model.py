"""Intake's rules: a transition returns the changed document or raises Conflict that says what is missing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Conflict, FieldError, Invalid, NotFound, PreconditionFailed
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


def held(patient: Document) -> bool:
    return patient.get("legal_hold") is not None


def lift_hold(patient: Document, now: datetime) -> Document:
    if not held(patient):
        raise Conflict(reasons=[{"code": "not_held", "detail": "No legal hold runs for this patient."}])
    return changed(patient, now, legal_hold=None)


PLAN_MOVES: Mapping[str, Mapping[str, str]] = {
    "activate": {"draft": "active"},
    "revise": {"draft": "draft", "active": "active", "paused": "paused"},
    "pause": {"active": "paused"},
    "resume": {"paused": "active"},
    "discontinue": {"draft": "discontinued", "active": "discontinued", "paused": "discontinued"},
}
LOOKED_AT = ("revise", "resume", "discontinue")


def move_plan(plan: Document, verb: str, now: datetime, reason_code: str | None, **fields: object) -> Document:
    """The plan after `verb`; a prescriber who decides about it has seen what was open for review.

    Raises Conflict that names the states in which `verb` is possible.
    """
    states = PLAN_MOVES[verb]
    if plan["state"] not in states:
        detail = f"The plan is {plan['state']}; {verb} needs {' or '.join(states)}."
        raise Conflict(reasons=[{"code": f"plan_{plan['state']}", "detail": detail}])
    reviews = [{**row, "open": row["open"] and verb not in LOOKED_AT} for row in reviews_of(plan)]
    state = states[plan["state"]]
    return changed(plan, now, **fields, state=state, reason_code=reason_code, reviews=reviews)


def revise_plan(plan: Document, wanted: Mapping[str, Any], now: datetime, reason_code: str) -> Document:
    """Raises Conflict by state, Invalid for fewer sessions than were given."""
    count = wanted.get("session_count", plan["session_count"])
    if count <= len(plan["session_ids"]):
        words = f"must be above the {len(plan['session_ids'])} sessions that have taken place"
        raise Invalid(errors=[FieldError("/session_count", words, "below_done")])
    return move_plan(plan, "revise", now, reason_code, **wanted)


def reviews_of(plan: Document) -> list[Document]:
    """Findings for a prescriber; plans of the first version have none."""
    rows: list[Document] = plan.get("reviews", [])
    return rows


def review_codes(plan: Document) -> list[str]:
    return sorted({row["code"] for row in reviews_of(plan) if row["open"]})


def note_review(plan: Document, code: str, cause: str, now: datetime, *, pause: bool) -> Document | None:
    """The plan with one more finding, paused if it was active and `pause` is asked.

    None when this finding is known: the same event told again, or corrected, does not pause a plan that was resumed.
    """
    known = reviews_of(plan)
    if any((row["code"], row["cause"]) == (code, cause) for row in known):
        return None
    noted = [*known, {"code": code, "cause": cause, "at": now, "open": True}]
    if pause and plan["state"] == "active":
        return changed(plan, now, reviews=noted, state="paused", reason_code=code)
    return changed(plan, now, reviews=noted)


def count_session(plan: Document, session_id: str, now: datetime) -> Document | None:
    """The plan after one more dosing session; None when this session is counted already."""
    if session_id in plan["session_ids"]:
        return None
    sessions = [*plan["session_ids"], session_id]
    over = plan["state"] in ("active", "paused") and len(sessions) >= plan["session_count"]
    return changed(plan, now, session_ids=sessions, state="completed" if over else plan["state"])


class ConsentDocument(Protocol):
    valid_days: int | None = None


class ConsentProtocol(Protocol):
    """protocols/consents.yaml."""

    version: str
    documents: Mapping[str, ConsentDocument]


def consent_valid_until(
    protocol: ConsentProtocol, document: str, signed_at: datetime, asked: datetime | None, now: datetime
) -> datetime | None:
    """When the signature ends; None where it does not. Raises Invalid for an unknown document and for times out of order."""
    known = protocol.documents.get(document)
    if known is None:
        raise Invalid(errors=[FieldError("/document", "is not a consent document of this clinic", "document_unknown")])
    if signed_at > now:
        raise Invalid(errors=[FieldError("/signed_at", "is in the future", "in_future")])
    bound = signed_at + timedelta(days=known.valid_days) if known.valid_days else None
    until = asked or bound
    if until is not None and until <= now:
        raise Invalid(errors=[FieldError("/valid_until", "has passed already", "in_past")])
    if until is not None and bound is not None and until > bound:
        words = f"is more than {known.valid_days} days after the signature"
        raise Invalid(errors=[FieldError("/valid_until", words, "too_late")])
    return until


def revoke_consent(consent: Document, now: datetime, reason_code: str) -> Document:
    if consent["state"] != "signed":
        reason = {"code": f"consent_{consent['state']}", "detail": "Only a consent that stands is revoked."}
        raise Conflict(reasons=[reason])
    return changed(consent, now, state="revoked", reason_code=reason_code)


def expire_consent(consent: Document, now: datetime) -> Document | None:
    """None when it does not stand any more."""
    return changed(consent, now, state="expired") if consent["state"] == "signed" else None


def check_decision(decision: str, reason_codes: Sequence[str], valid_until: datetime | None, now: datetime) -> None:
    """Raises Invalid: an approval ends some day, any other decision has a reason."""
    if decision == "approved" and valid_until is None:
        raise Invalid(errors=[FieldError("/valid_until", "is required for an approval", "missing")])
    if valid_until is not None and valid_until <= now:
        raise Invalid(errors=[FieldError("/valid_until", "has passed already", "in_past")])
    if decision != "approved" and not reason_codes:
        words = "needs at least one code unless the decision is approved"
        raise Invalid(errors=[FieldError("/reason_codes", words, "missing")])


class AssessWithin(Protocol):
    """Minutes by level."""

    unassessed: int
    low: int
    moderate: int
    high: int


class RiskProtocol(Protocol):
    """protocols/risk.yaml: how soon a finding must be assessed."""

    version: str
    assess_within_minutes: AssessWithin

    def assessment_due(self, level: str, now: datetime) -> datetime:
        minutes: int = getattr(self.assess_within_minutes, level)
        return now + timedelta(minutes=minutes)


RISK_ORDER = ("low", "unassessed", "moderate", "high")


def stronger(standing: Document | None, level: str) -> bool:
    """True when a finding of this level takes the place of what stands: a weaker one hides nothing."""
    if standing is None or not standing["flagged"]:
        return True
    return RISK_ORDER.index(level) >= RISK_ORDER.index(standing["level"])


def clear_risk(standing: Document | None) -> Document:
    """The flag that stands. Raises Conflict when there is none."""
    if standing is None or not standing["flagged"]:
        raise Conflict(reasons=[{"code": "risk_not_flagged", "detail": "Nothing is flagged for this patient."}])
    return standing


def at_version(document: Document, expected: int) -> Document:
    """The document, if it is the one that the caller has read. Raises PreconditionFailed."""
    if document["version"] != expected:
        raise PreconditionFailed
    return document


def belongs(document: Document, patient_id: str) -> Document:
    """The document, if it is this patient's. Raises NotFound."""
    if document["patient_id"] != patient_id:
        raise NotFound
    return document
