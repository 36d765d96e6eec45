"""What stands with others for or against a dose: consents, eligibility, plan, holds, the place and its people. Pure.

What was never heard of is overridable: an unscheduled session works without any event having arrived. What is known to
forbid a dose is absolute.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.monitoring.gate_found import Found, GateRules, Reason
from services.monitoring.medicines import findings

PRESCRIBERS = ("prescriber", "medical_director")


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """Every reason that rests on a projection, and how old the projections are."""
    checks = [*_plan(found), *_consents(rules, found), *_eligibility(found), *_risk(found), *_medicines(found)]
    return checks + _place_and_people(rules, found) + _age(rules, found)


def _plan(found: Found) -> list[Reason]:
    plan = found.known.plan
    if not found.planned:
        return _unplanned(found)
    if plan is None:
        return [Reason("plan_unknown", "overridable", "No active treatment plan is known here.")]
    if plan["patient_id"] != found.patient_id:
        return [Reason("plan_of_another", "absolute", "The treatment plan is another patient's.")]
    list_: list[Reason] = []
    if not _active(plan):
        list_.append(Reason("plan_not_active", "absolute", "The treatment plan is paused or has ended."))
    if plan["route"] != found.route:
        list_.append(Reason("plan_other_route", "overridable", "The treatment plan is of another route."))
    return list_


def _unplanned(found: Found) -> list[Reason]:
    """Nobody passes a plan, or its dose, by naming none; one that was never begun or is complete holds nothing."""
    if any(map(_active, found.known.plans)):
        text = "The patient has an active treatment plan that the session does not name."
        return [Reason("plan_not_named", "overridable", text)]
    if any(map(_held, found.known.plans)):
        return [Reason("plan_not_active", "absolute", "The patient's treatment plan is paused or was discontinued.")]
    return [Reason("no_plan", "note", "The session belongs to no treatment plan.")]


def _active(plan: Mapping[str, Any]) -> bool:
    return bool(plan.get("state", "active") == "active")


def _held(plan: Mapping[str, Any]) -> bool:
    """In a state that only later code knows too."""
    return plan.get("state", "active") not in ("active", "draft", "completed")


def expired(person: Mapping[str, Any], now: datetime) -> bool:
    """Whether a credential of someone in the staff directory has."""
    return any(item["date"] < now.date().isoformat() for item in person["valid_until"])


def _over(until: datetime | None, now: datetime) -> bool:
    return until is not None and until <= now


def _consents(rules: GateRules, found: Found) -> list[Reason]:
    return [reason for document in rules.consents for reason in _consent(document, found)]


def _consent(document: str, found: Found) -> list[Reason]:
    """A document that was signed again after it was revoked stands."""
    mine = sorted(
        (row for row in found.known.consents if row["document"] == document), key=lambda row: row["signed_at"]
    )
    if not mine:
        return [Reason("consent_unsigned", "overridable", f"No signed consent to {document} is known here.")]
    if any(row["state"] == "signed" and not _over(row.get("valid_until"), found.now) for row in mine):
        return []
    if mine[-1]["state"] == "revoked":
        return [Reason("consent_revoked", "absolute", f"The consent to {document} was revoked.")]
    return [Reason("consent_expired", "overridable", f"The consent to {document} has expired.")]


def _eligibility(found: Found) -> list[Reason]:
    decided = found.known.eligibility
    if decided is None:
        return [Reason("no_eligibility", "overridable", "No decision on eligibility is known here.")]
    if decided["decision"] != "approved":
        return [Reason("not_eligible", "absolute", "The decision on eligibility is not an approval.")]
    if decided.get("expired") or _over(decided.get("valid_until"), found.now):
        return [Reason("eligibility_out_of_date", "overridable", "The decision on eligibility is out of date.")]
    if decided.get("route") not in (None, found.route):
        return [Reason("eligibility_other_route", "overridable", "The patient is eligible for another route.")]
    return []


def _risk(found: Found) -> list[Reason]:
    risk = found.known.risk
    if risk is not None and risk["flagged"]:
        return [Reason("risk_hold", "absolute", "A suicide risk was flagged and is not cleared.")]
    return []


def _medicines(found: Found) -> list[Reason]:
    summary = found.known.summary
    if summary is None:
        return [Reason("summary_unknown", "overridable", "Allergies and medicines are not known here.")]
    texts = {"allergy": "An allergy to the medicine is recorded."}
    return [
        Reason(
            item.code, item.kind, texts.get(item.code, f"The patient takes {item.code.removeprefix('interaction_')}.")
        )
        for item in findings(found.medicines, summary["allergies"], summary["medications"])
    ]


def _place_and_people(rules: GateRules, found: Found) -> list[Reason]:
    """REMS-FDA, REMS-OUT (clinical.md 6, 10); who is named on site is looked up for every route."""
    if not rules.rems:
        return [] if found.prescriber_on_site is None else _prescriber(found)
    return [*_enrolment(found), *_site(found), *_prescriber(found), *_oximeter(rules, found)]


def _enrolment(found: Found) -> list[Reason]:
    rems = found.known.rems
    if rems is None:
        return [Reason("rems_unknown", "overridable", "No REMS enrolment is known here.")]
    if rems["status"] != "enrolled" or _over(rems.get("valid_until"), found.now):
        return [Reason("rems_not_enrolled", "absolute", "The patient is not enrolled in the REMS.")]
    return []


def _site(found: Found) -> list[Reason]:
    place = found.known.location
    if place is None:
        return [Reason("site_unknown", "overridable", "The certificate of this location is not known here.")]
    until = place.get("rems_certified_until")
    if until is None or _over(until, found.now):
        return [Reason("site_not_certified", "absolute", "This location is not certified for the REMS.")]
    return []


def _prescriber(found: Found) -> list[Reason]:
    if found.prescriber_on_site is None:
        return [Reason("no_prescriber_on_site", "absolute", "No prescriber on site is named.")]
    person = found.known.prescriber
    if person is None:
        return [Reason("prescriber_unknown", "overridable", "The prescriber named is not in the staff directory here.")]
    if not set(person["roles"]) & set(PRESCRIBERS):
        return [Reason("not_a_prescriber", "absolute", "The person named on site is not a prescriber.")]
    if expired(person, found.now):
        return [Reason("prescriber_credential_expired", "absolute", "A credential of the prescriber has expired.")]
    place, places = found.known.location, person["locations"]
    if place is not None and places and place["id"] not in places:
        return [Reason("prescriber_elsewhere", "overridable", "The prescriber does not work at this location.")]
    return []


def _oximeter(rules: GateRules, found: Found) -> list[Reason]:
    seen = found.oximeter_at
    if seen is not None and (found.now - seen).total_seconds() <= rules.valid_minutes * 60:
        return []
    text = f"No pulse oximeter has measured in the last {rules.valid_minutes:g} minutes."
    return [Reason("no_oximeter", "absolute", text)]


def _age(rules: GateRules, found: Found) -> list[Reason]:
    """One reason for each source that is behind: the rest of the gate may rest on what is no longer so."""
    late = [
        source
        for source, at in sorted(found.known.as_of.items())
        if at is None or (found.real_now - at).total_seconds() > rules.max_projection_age_s
    ]
    text = f"What is known from {{}} is older than {rules.max_projection_age_s:g} seconds."
    return [Reason(f"behind_{source}", "overridable", text.format(source)) for source in late]
