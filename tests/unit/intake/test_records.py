"""Consents, decisions and risk: times, codes and what hides what. And the content that comes with the service."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import services.intake
from services.intake import model, schemas
from shared.errors import Conflict, Invalid, NotFound
from shared.persistence.mongo import Document, as_document
from shared.protocols import ProtocolError, load

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
DAY = timedelta(days=1)
PROTOCOLS = Path(services.intake.__file__).parent / "protocols"
CONSENTS = load(PROTOCOLS / "consents.yaml", model.ConsentProtocol)
RISK = load(PROTOCOLS / "risk.yaml", model.RiskProtocol)


def until(document: str = "ketamine_treatment", signed: timedelta = timedelta(), asked: datetime | None = None) -> Any:
    return model.consent_valid_until(CONSENTS, document, NOW + signed, asked, NOW)


def test_a_signature_ends_when_its_document_says_or_earlier_if_asked() -> None:
    assert until() == NOW + 365 * DAY
    assert until(signed=-DAY) == NOW + 364 * DAY
    assert until(asked=NOW + DAY) == NOW + DAY
    assert until("privacy_notice") is None
    assert until("privacy_notice", asked=NOW + 9999 * DAY) == NOW + 9999 * DAY


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({"document": "anything"}, "/document", "document_unknown"),
        ({"signed": timedelta(seconds=1)}, "/signed_at", "in_future"),
        ({"signed": -365 * DAY}, "/valid_until", "in_past"),
        ({"asked": NOW}, "/valid_until", "in_past"),
        ({"asked": NOW + 366 * DAY}, "/valid_until", "too_late"),
    ],
)
def test_a_signature_that_makes_no_sense_is_refused_by_field(given: Any, pointer: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        until(**given)
    assert [(fault.pointer, fault.code) for fault in refused.value.errors] == [(pointer, code)]


def consent(state: str) -> Document:
    return as_document("c", NOW, patient_id="p", state=state, reason_code=None)


def test_only_a_standing_consent_is_revoked_or_expires() -> None:
    revoked = model.revoke_consent(consent("signed"), NOW, "asked")
    assert (revoked["state"], revoked["reason_code"], revoked["version"]) == ("revoked", "asked", 2)
    expired = model.expire_consent(consent("signed"), NOW)
    assert expired is not None
    assert expired["state"] == "expired"
    assert model.expire_consent(revoked, NOW) is None
    with pytest.raises(Conflict) as refused:
        model.revoke_consent(expired, NOW, "asked")
    assert refused.value.reasons[0]["code"] == "consent_expired"


def test_another_patients_record_is_not_found() -> None:
    assert model.belongs(consent("signed"), "p")
    with pytest.raises(NotFound):
        model.belongs(consent("signed"), "q")


@pytest.mark.parametrize(
    ("decision", "reasons", "valid_until", "pointer"),
    [
        ("approved", [], NOW + DAY, None),
        ("approved", [], None, "/valid_until"),
        ("approved", [], NOW, "/valid_until"),
        ("declined", ["blood_pressure"], None, None),
        ("declined", [], None, "/reason_codes"),
        ("deferred", [], NOW + DAY, "/reason_codes"),
    ],
)
def test_an_approval_ends_and_any_other_decision_has_a_reason(
    decision: str, reasons: list[str], valid_until: datetime | None, pointer: str | None
) -> None:
    if pointer is None:
        model.check_decision(decision, reasons, valid_until, NOW)
        return
    with pytest.raises(Invalid) as refused:
        model.check_decision(decision, reasons, valid_until, NOW)
    assert refused.value.errors[0].pointer == pointer


def standing(level: str, *, flagged: bool = True) -> Document:
    return {"_id": "p", "level": level, "flagged": flagged}


@pytest.mark.parametrize(
    ("level", "given", "takes_its_place"),
    [
        ("high", "high", True),
        ("high", "moderate", False),
        ("high", "unassessed", False),
        ("moderate", "unassessed", False),
        ("low", "unassessed", True),
        ("unassessed", "moderate", True),
        ("unassessed", "low", False),
    ],
)
def test_a_weaker_finding_hides_nothing(level: str, given: str, takes_its_place: bool) -> None:
    assert model.stronger(standing(level), given) is takes_its_place
    assert model.stronger(standing(level, flagged=False), given)
    assert model.stronger(None, given)


def test_only_a_flag_is_cleared() -> None:
    assert model.clear_risk(standing("high"))["level"] == "high"
    for nothing in (None, standing("low", flagged=False)):
        with pytest.raises(Conflict, match="state"):
            model.clear_risk(nothing)


def test_the_worse_the_sooner_it_is_assessed() -> None:
    due = [RISK.assessment_due(level, NOW) for level in ("high", "unassessed", "moderate", "low")]
    assert due == sorted(due)
    assert due[0] == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("missing", ["high", "unassessed"])
def test_content_without_a_level_stops_the_service_and_is_named(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "risk.yaml"
    text = (PROTOCOLS / "risk.yaml").read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.strip().startswith(f"{missing}:")))
    with pytest.raises(ProtocolError, match=f"assess_within_minutes.{missing}"):
        load(path, model.RiskProtocol)


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (schemas.PatientChange, {}),
        (schemas.PatientChange, {"birth_year": None}),
        (schemas.PatientChange, {"time_zone": "Mars/Olympus"}),
        (schemas.PlanRevision, {"reason_code": "why"}),
        (schemas.PlanRevision, {"dose_mg_per_kg": 0.5}),
        (schemas.Reason, {"reason_code": "Because he said so"}),
        (schemas.RiskAssessment, {"instrument": "cssrs", "level": "high"}),
        (schemas.RiskAssessment, {"instrument": "cssrs", "level": "unassessed"}),
        (schemas.NewClinicalSummary, {"allergies": ["peanuts and nuts"], "medications": [], "problems": []}),
        (schemas.NewConsent, {"document": "telehealth", "document_version": "1", "text_sha256": "abc"}),
        (schemas.ClinicProfile, {"time_zone": "UTC", "languages": []}),
    ],
)
def test_a_body_that_says_nothing_or_says_it_in_words_is_refused(body: Any, given: Any) -> None:
    with pytest.raises(ValidationError):
        body.model_validate(given)
