"""Pure: documents as the payloads of events, for the use cases that tell a change and for `republish`."""

from services.intake.model import review_codes
from shared.events.intake import ClinicalSummaryChanged, ClinicChanged, Location, RemsEnrolmentChanged
from shared.persistence.mongo import Document

_PLAN = (
    *("patient_id", "route", "medication", "dose_mg_per_kg", "session_count", "min_gap_hours", "integration_after"),
    *("protocol_version", "version", "state"),
)
_CONSENT = ("patient_id", "document", "signed_at", "valid_until", "state", "reason_code")
_ELIGIBILITY = (
    *("patient_id", "decision", "route", "indication", "reason_codes", "decided_at", "valid_until", "expired"),
)
_RISK = ("flagged", "instrument", "item", "level", "assessment_due_at", "at")


def patient_facts(row: Document) -> Document:
    return {"patient_id": row["_id"], **{name: row[name] for name in ("inquiry_id", "birth_year", "time_zone")}}


def plan_facts(row: Document) -> Document:
    done, reason = len(row["session_ids"]), row.get("reason_code")
    told = {"plan_id": row["_id"], "sessions_done": done, "reason_code": reason, "review_codes": review_codes(row)}
    return {**told, **{name: row[name] for name in _PLAN}}


def consent_facts(row: Document) -> Document:
    told = {"consent_id": row["_id"], "version": row["document_version"]}
    return {**told, **{name: row[name] for name in _CONSENT}}


def eligibility_facts(row: Document) -> Document:
    return {"eligibility_id": row["_id"], **{name: row[name] for name in _ELIGIBILITY}}


def risk_facts(row: Document) -> Document:
    return {"patient_id": row["_id"], **{name: row[name] for name in _RISK}}


def clinic_changed(row: Document) -> ClinicChanged:
    places = [Location(**place) for place in row["locations"]]
    told = {name: row[name] for name in ("services", "languages", "time_zone")}
    return ClinicChanged(clinic_id=row["_id"], locations=places, **told)


def summary_changed(row: Document) -> ClinicalSummaryChanged:
    told = {name: row[name] for name in ("allergies", "medications", "problems", "reconciled_at")}
    return ClinicalSummaryChanged(patient_id=row["_id"], **told)


def rems_changed(row: Document) -> RemsEnrolmentChanged:
    return RemsEnrolmentChanged(patient_id=row["_id"], status=row["status"], valid_until=row["valid_until"])
