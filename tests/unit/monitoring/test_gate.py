"""The dose gate's reasons with their classes, against clinical.md; names tell the source."""

import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.monitoring import gate
from services.monitoring.gate import closed, closing, reasons
from services.monitoring.gate_found import Found, Given, Known, Proposed, Reason
from services.monitoring.protocol import DosingProtocol
from services.monitoring.readiness import NOT_READY
from services.monitoring.wiring import make_deps, medicines
from shared.events.envelope import UNKNOWN
from shared.persistence.vault import KeyRing

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
DEPS = make_deps(KeyRing("k1:" + b64encode(b"k" * 32).decode()))
IV, ESKETAMINE = (DEPS.dosing({"protocol_version": f"{name}-2026-11"}) for name in ("iv", "esketamine"))
BASE = {"systolic": 120, "diastolic": 80, "weight_kg": 70, "moaas": 5, "cadss6": 0, "suicidal_ideation": False}
READY = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
LATER, EARLIER = NOW + timedelta(days=1), NOW - timedelta(days=1)
CONSENT = {"state": "signed", "signed_at": EARLIER, "valid_until": LATER}
ELIGIBLE = {"decision": "approved", "route": None, "valid_until": LATER, "expired": False}
SUMMARY: dict[str, Any] = {"allergies": [], "medications": [], "problems": []}
SITE = {"id": "site-1", "rems_certified_until": LATER}
PRESCRIBER: dict[str, Any] = {"roles": ["prescriber"], "locations": ["site-1"], "valid_until": []}
SOURCES = ("intake", "intake_alarms", "scheduling")


def open_gate(protocol: DosingProtocol) -> Found:
    """Nothing stands against the dose."""
    document = protocol.gate.consents[0]
    known = Known(
        plan={"dose_mg_per_kg": 0.5, "state": "active"},
        consents=[CONSENT | {"document": document}],
        eligibility=ELIGIBLE,
        risk={"flagged": False},
        rems={"status": "enrolled", "valid_until": None},
        summary=SUMMARY,
        location=SITE,
        prescriber=PRESCRIBER,
        as_of=dict.fromkeys(SOURCES, NOW),
    )
    return Found(
        now=NOW,
        real_now=NOW,
        route=protocol.route,
        medication=protocol.medication,
        baseline=BASE,
        baseline_at=NOW - timedelta(minutes=10),
        readiness=READY,
        planned=True,
        last_dose_at=NOW - timedelta(hours=72),
        ceiling=protocol.ceiling,
        medicines=medicines()[protocol.medicines],
        known=known,
        oximeter_at=NOW,
        prescriber_on_site="doctor-1",
    )


def judged(protocol: DosingProtocol, **changed: Any) -> list[tuple[str, str]]:
    """The reasons of an open gate in which this is otherwise; fields of `Known` are found by their names."""
    found = open_gate(protocol)
    told = {name: value for name, value in changed.items() if name in Known.__dataclass_fields__}
    own = {name: value for name, value in changed.items() if name not in told}
    return [
        (item.code, item.kind)
        for item in reasons(protocol.gate, replace(found, known=replace(found.known, **told), **own))
    ]


def dose(amount_mg: float, medication: str = "ketamine", **other: Any) -> Proposed:
    return Proposed(medication, amount_mg, **({"expiry": "2028-01", "by": "nurse-1"} | other))


@pytest.mark.parametrize("protocol", [IV, ESKETAMINE], ids=lambda item: item.route)
def test_the_gate_is_open_when_nothing_stands_against_the_dose(protocol: DosingProtocol) -> None:
    assert judged(protocol) == []


REVOKED = [CONSENT | {"document": "ketamine_treatment", "state": "revoked"}]
EXPIRED = [CONSENT | {"document": "ketamine_treatment", "valid_until": NOW}]
AGAIN = [*REVOKED, CONSENT | {"document": "ketamine_treatment", "signed_at": NOW}]


@pytest.mark.parametrize(
    ("changed", "code", "kind"),
    [
        ({"baseline": None}, "no_baseline", "absolute"),
        ({"baseline_at": NOW - timedelta(minutes=16)}, "baseline_expired", "overridable"),
        ({"antihypertensive_at": NOW - timedelta(minutes=5)}, "remeasurement_due", "overridable"),
        ({"baseline": BASE | {"systolic": 141}}, "blood_pressure", "overridable"),
        ({"baseline": BASE | {"diastolic": 91}}, "blood_pressure", "overridable"),
        ({"baseline": BASE | {"suicidal_ideation": None}}, "suicide_question_unanswered", "overridable"),
        ({"baseline": BASE | {"suicidal_ideation": True}}, "suicidal_ideation", "overridable"),
        ({"baseline": BASE | {"moaas": None}}, "scales_missing", "note"),
        ({"plan": None}, "plan_unknown", "overridable"),
        ({"plan": {"dose_mg_per_kg": 0.5, "state": "paused"}}, "plan_not_active", "absolute"),
        ({"planned": False, "plan": None}, "no_plan", "note"),
        ({"readiness": None}, "readiness_missing", "overridable"),
        ({"readiness": READY | {"fasting": False}}, "not_fasting", "overridable"),
        ({"readiness": READY | {"escort_named": False}}, "no_escort", "overridable"),
        ({"readiness": READY | {"escort_reachable": None}}, "escort_not_reachable", "overridable"),
        ({"readiness": READY | {"well_today": False}}, "not_well", "overridable"),
        ({"readiness": READY | {"medication_changes": True}}, "medication_changed", "overridable"),
        ({"readiness": READY | {"pregnancy_test": "positive"}}, "pregnancy", "absolute"),
        ({"consents": []}, "consent_unsigned", "overridable"),
        ({"consents": REVOKED}, "consent_revoked", "absolute"),
        ({"consents": EXPIRED}, "consent_expired", "overridable"),
        ({"eligibility": None}, "no_eligibility", "overridable"),
        ({"eligibility": ELIGIBLE | {"decision": "declined"}}, "not_eligible", "absolute"),
        ({"eligibility": ELIGIBLE | {"valid_until": NOW}}, "eligibility_out_of_date", "overridable"),
        ({"eligibility": ELIGIBLE | {"expired": True}}, "eligibility_out_of_date", "overridable"),
        ({"eligibility": ELIGIBLE | {"route": "im"}}, "eligibility_other_route", "overridable"),
        ({"risk": {"flagged": True}}, "risk_hold", "absolute"),
        ({"summary": None}, "summary_unknown", "overridable"),
        ({"as_of": {"intake": NOW - timedelta(seconds=61)}}, "behind_intake", "overridable"),
        ({"as_of": {"scheduling": None}}, "behind_scheduling", "overridable"),
        ({"last_dose_at": NOW - timedelta(hours=47)}, "minimum_gap", "overridable"),
        ({"plan": {"dose_mg_per_kg": 0.5, "state": UNKNOWN}}, "plan_not_active", "absolute"),
        ({"eligibility": ELIGIBLE | {"decision": UNKNOWN}}, "not_eligible", "absolute"),
        (
            {"consents": [CONSENT | {"document": "ketamine_treatment", "state": UNKNOWN}]},
            "consent_expired",
            "overridable",
        ),
    ],
)
def test_each_reason_of_any_route_comes_by_itself(changed: dict[str, Any], code: str, kind: str) -> None:
    assert judged(IV, **changed) == [(code, kind)]


def test_a_consent_that_was_signed_again_stands() -> None:
    assert judged(IV, consents=AGAIN) == []


@pytest.mark.parametrize(
    ("proposed", "changed", "code", "kind"),
    [
        (dose(70.1), {"plan": {"dose_mg_per_kg": 1.0}}, "above_ceiling", "absolute"),
        (dose(36), {"given": Given(35, 1, NOW), "plan": {"dose_mg_per_kg": 1.0}}, "above_ceiling", "absolute"),
        (dose(39), {}, "above_plan", "overridable"),
        (dose(28, "esketamine"), {}, "other_medication", "absolute"),
        (dose(35, expiry="2025-12"), {}, "lot_expired", "absolute"),
    ],
)
def test_the_dose_against_ceiling_plan_and_lot_clinical_md_5(
    proposed: Proposed, changed: dict[str, Any], code: str, kind: str
) -> None:
    assert judged(IV, dose=proposed, **changed) == [(code, kind)]


@pytest.mark.parametrize(("checked_by", "missing"), [(None, True), ("nurse-1", True), ("nurse-2", False)])
def test_a_second_person_checks_where_the_protocol_asks(checked_by: str | None, missing: bool) -> None:
    im = DEPS.dosing({"protocol_version": "im-2026-11"})
    found = judged(im, dose=dose(35, checked_by=checked_by))
    assert found == ([("second_check_missing", "overridable")] if missing else [])


@pytest.mark.parametrize(
    ("changed", "code", "kind"),
    [
        ({"rems": None}, "rems_unknown", "overridable"),
        ({"rems": {"status": "pending"}}, "rems_not_enrolled", "absolute"),
        ({"rems": {"status": "enrolled", "valid_until": NOW}}, "rems_not_enrolled", "absolute"),
        ({"location": None}, "site_unknown", "overridable"),
        ({"location": {"id": "site-1"}}, "site_not_certified", "absolute"),
        ({"location": SITE | {"rems_certified_until": NOW}}, "site_not_certified", "absolute"),
        ({"prescriber_on_site": None}, "no_prescriber_on_site", "absolute"),
        ({"prescriber": None}, "prescriber_unknown", "overridable"),
        ({"prescriber": PRESCRIBER | {"roles": ["nurse"]}}, "not_a_prescriber", "absolute"),
        ({"prescriber": PRESCRIBER | {"locations": ["site-2"]}}, "prescriber_elsewhere", "overridable"),
        (
            {"prescriber": PRESCRIBER | {"valid_until": [{"credential": "licence", "date": "2026-01-09"}]}},
            "prescriber_credential_expired",
            "absolute",
        ),
        ({"oximeter_at": None}, "no_oximeter", "absolute"),
        ({"oximeter_at": NOW - timedelta(minutes=16)}, "no_oximeter", "absolute"),
    ],
)
def test_esketamine_only_with_site_enrolment_prescriber_and_oximeter_clinical_md_6_and_10(
    changed: dict[str, Any], code: str, kind: str
) -> None:
    assert judged(ESKETAMINE, **changed) == [(code, kind)]
    assert (code, kind) not in judged(IV, **changed)


@pytest.mark.parametrize(
    ("amount_mg", "given", "codes"),
    [
        (28, Given(), []),
        (28, Given(28, 1, NOW - timedelta(minutes=5)), []),
        (28, Given(28, 1, NOW - timedelta(minutes=4)), ["device_gap"]),
        (28, Given(56, 2, NOW - timedelta(minutes=5)), []),
        (28, Given(84, 3, NOW - timedelta(minutes=5)), ["above_ceiling_mg", "devices_used"]),
        (56, Given(), ["device_amount"]),
    ],
)
def test_devices_one_by_one_two_or_three_five_minutes_apart_clinical_md_5(
    amount_mg: float, given: Given, codes: list[str]
) -> None:
    found = judged(ESKETAMINE, dose=dose(amount_mg, "esketamine"), given=given, plan={"dose_mg_per_kg": 2.0})
    assert [code for code, _ in found] == codes


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("rxnorm:10438", "interaction_xanthines", "absolute"),
        ("rxnorm:7052", "interaction_cns_depressants", "overridable"),
        ("rxnorm:6470", "interaction_benzodiazepines", "note"),
        ("rxnorm:10734", "interaction_maois", "note"),
        ("rxnorm:28439", "interaction_lamotrigine", "note"),
        ("rxnorm:7243", "interaction_opioid_antagonists", "note"),
    ],
)
def test_interacting_medicines_clinical_md_4_2(code: str, reason: str, kind: str) -> None:
    assert judged(IV, summary=SUMMARY | {"medications": [code]}) == [(reason, kind)]


def test_an_allergy_is_absolute_clinical_md_4_1() -> None:
    assert judged(IV, summary=SUMMARY | {"allergies": ["rxnorm:6130"]}) == [("allergy", "absolute")]


def test_every_reason_is_listed_and_not_only_the_first() -> None:
    codes = [code for code, _ in judged(IV, consents=[], eligibility=None, baseline=BASE | {"systolic": 150})]
    assert codes == ["blood_pressure", "consent_unsigned", "no_eligibility"]


def test_an_override_answers_its_codes_and_never_what_is_absolute() -> None:
    found = [Reason("a", "overridable", ""), Reason("b", "overridable", ""), Reason("c", "absolute", "")]
    found.append(Reason("d", "note", ""))
    assert [item.code for item in closing(found, {"a", "c"})] == ["b", "c"]
    assert not closed([Reason("d", "note", "")])


def test_every_reason_is_refused_on_the_running_use_cases_too() -> None:
    """By name: whoever adds a reason adds its refusal there."""
    rooms = Path(gate.__file__).parent
    text = "".join((rooms / f"{name}.py").read_text() for name in ("gate", "readiness", "standing", "doses"))
    codes = set(re.findall(r'Reason\("([a-z_]+)"', text)) | {code for code, _ in NOT_READY.values()}
    refused = (Path(__file__).parents[2] / "integration" / "monitoring" / "test_dose_gate.py").read_text()
    assert len(codes) > 40
    assert [code for code in sorted(codes) if f'"{code}"' not in refused] == []
