"""Every State event is made of a document alone, on the bulk lane, as its aggregate."""

from datetime import UTC, datetime

import pytest

from services.intake.republish import REPUBLISH
from services.intake.store import CLINICS, CONSENTS, ELIGIBILITY, INDEXES, PATIENTS, PLANS, REMS, RISKS, SUMMARIES
from shared.events.registry import REGISTRY
from shared.persistence.mongo import Document, as_document

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
PLAN: Document = {"route": "iv", "medication": "ketamine", "dose_mg_per_kg": 0.5, "session_count": 6}
PLAN |= {"min_gap_hours": 48, "integration_after": True, "protocol_version": "2026-11", "session_ids": ["s1"]}
FINDING: Document = {"flagged": True, "instrument": "phq9", "item": 9, "level": "high"}
DOCUMENTS: dict[str, Document] = {
    PATIENTS: {"inquiry_id": None, "birth_year": 1980, "time_zone": "UTC", "contact": b"sealed"},
    PLANS: {**PLAN, "patient_id": "p", "state": "paused", "reviews": [{"code": "session_aborted", "open": True}]},
    CONSENTS: {
        "patient_id": "p",
        "document": "telehealth",
        "document_version": "3",
        "text_sha256": "0" * 64,
        "signer": "patient",
        "signed_at": NOW,
        "valid_until": None,
        "state": "revoked",
        "reason_code": "asked",
    },
    ELIGIBILITY: {
        "patient_id": "p",
        "decision": "approved",
        "route": None,
        "indication": "icd10:F33.2",
        "reason_codes": [],
        "decided_at": NOW,
        "decided_by": "dr-1",
        "valid_until": NOW,
        "expired": True,
        "standing": True,
    },
    RISKS: {**FINDING, "assessment_due_at": NOW, "at": NOW},
    CLINICS: {"time_zone": "UTC", "languages": ["en"], "locations": [{"id": "l1", "label": "Main"}], "services": []},
    SUMMARIES: {"allergies": ["rxnorm:6130"], "medications": [], "problems": [], "reconciled_at": NOW},
    REMS: {"status": "enrolled", "valid_until": None},
}
AGGREGATES = {
    "PatientState": "patient/x",
    "PlanState": "plan/x",
    "ConsentState": "consent/x",
    "EligibilityState": "eligibility/p",
    "RiskState": "risk/x",
    "ClinicChanged": "clinic/x",
    "ClinicalSummaryChanged": "clinical-summary/x",
    "RemsEnrolmentChanged": "rems-enrolment/x",
}


@pytest.mark.parametrize("name", AGGREGATES)
def test_a_document_becomes_its_state_event(name: str) -> None:
    kind = REPUBLISH[name]
    row = as_document("x", NOW, **DOCUMENTS[kind.collection])
    event = kind.event(row)
    assert REGISTRY[event.event_type()] is type(event)
    assert (type(event).__name__, event.LANE) == (name, "bulk")
    assert kind.aggregate(row) == AGGREGATES[name]
    assert kind.collection in INDEXES


def test_there_is_a_state_event_for_every_collection_that_others_project() -> None:
    assert set(REPUBLISH) == set(AGGREGATES)
    assert {kind.collection for kind in REPUBLISH.values()} == set(INDEXES) - {"inquiries"}


def test_a_plan_says_what_waits_for_a_prescriber() -> None:
    row = as_document("x", NOW, **DOCUMENTS[PLANS])
    told = REPUBLISH["PlanState"].event(row).model_dump()
    assert (told["state"], told["sessions_done"], told["review_codes"]) == ("paused", 1, ["session_aborted"])
