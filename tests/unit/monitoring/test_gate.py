"""The dose gate's reasons with their classes, against clinical.md; names tell the source."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.monitoring.gate import closed, closing, reasons
from services.monitoring.gate_found import Found, Given, Known, Pressure, Proposed, Reason
from services.monitoring.protocol import DosingProtocol
from services.monitoring.wiring import make_deps, medicines
from shared.events.envelope import UNKNOWN
from shared.persistence.vault import KeyRing

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
DEPS = make_deps(KeyRing("k1:" + b64encode(b"k" * 32).decode()))
IV, IM, ESKETAMINE = (DEPS.dosing({"protocol_version": f"{name}-2026-11"}) for name in ("iv", "im", "esketamine"))
BASE = {"systolic": 120, "diastolic": 80, "weight_kg": 70, "moaas": 5, "cadss6": 0, "suicidal_ideation": False}
READY = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
LATER, EARLIER = NOW + timedelta(days=1), NOW - timedelta(days=1)
CONSENT = {"state": "signed", "signed_at": EARLIER, "valid_until": LATER}
ELIGIBLE = {"decision": "approved", "route": None, "valid_until": LATER, "expired": False}
SUMMARY: dict[str, Any] = {"allergies": [], "medications": [], "problems": []}
SITE = {"id": "site-1", "rems_certified_until": LATER}
PRESCRIBER: dict[str, Any] = {"roles": ["prescriber"], "locations": ["site-1"], "valid_until": []}
CHECKER: dict[str, Any] = {"roles": ["nurse"], "valid_until": []}
PLAN = {"patient_id": "patient-1", "dose_mg_per_kg": 0.5, "state": "active"}
SOURCES = ("intake", "intake_alarms", "scheduling")


def open_gate(protocol: DosingProtocol) -> Found:
    """Nothing stands against the dose."""
    document = protocol.gate.consents[0]
    known = Known(
        plan=PLAN | {"route": protocol.route},
        consents=[CONSENT | {"document": document}],
        eligibility=ELIGIBLE,
        risk={"flagged": False},
        rems={"status": "enrolled", "valid_until": None},
        summary=SUMMARY,
        location=SITE,
        prescriber=PRESCRIBER,
        checker=CHECKER,
        as_of=dict.fromkeys(SOURCES, NOW),
    )
    return Found(
        now=NOW,
        real_now=NOW,
        patient_id="patient-1",
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


IV_PLAN = PLAN | {"route": "iv"}
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
        ({"baseline": BASE | {"systolic": 180.1}}, "blood_pressure_contraindicated", "absolute"),
        ({"baseline": BASE | {"diastolic": 100.1}}, "blood_pressure_contraindicated", "absolute"),
        ({"baseline": BASE | {"systolic": 180, "diastolic": 100}}, "blood_pressure", "overridable"),
        ({"last_weight_kg": 63.6}, "weight_changed", "overridable"),
        ({"last_weight_kg": 77.8}, "weight_changed", "overridable"),
        ({"baseline": BASE | {"suicidal_ideation": None}}, "suicide_question_unanswered", "overridable"),
        ({"baseline": BASE | {"suicidal_ideation": True}}, "suicidal_ideation", "overridable"),
        ({"baseline": BASE | {"moaas": None}}, "scales_missing", "note"),
        ({"plan": None}, "plan_unknown", "overridable"),
        ({"plan": IV_PLAN | {"state": "paused"}}, "plan_not_active", "absolute"),
        ({"plan": IV_PLAN | {"patient_id": "patient-2"}}, "plan_of_another", "absolute"),
        ({"plan": IV_PLAN | {"route": "im"}}, "plan_other_route", "overridable"),
        ({"planned": False, "plan": None}, "no_plan", "note"),
        ({"planned": False, "plan": None, "plans": [{"state": "held"}]}, "plan_not_active", "absolute"),
        ({"planned": False, "plan": None, "plans": [{"state": "completed"}]}, "no_plan", "note"),
        ({"planned": False, "plan": None, "plans": [{"state": "held"}, IV_PLAN]}, "plan_not_named", "overridable"),
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
        ({"plan": IV_PLAN | {"state": UNKNOWN}}, "plan_not_active", "absolute"),
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


@pytest.mark.parametrize(
    ("confirmed", "last_kg"),
    [(None, 77.7), (None, 63.7), (None, None), (True, 7.0)],
    ids=["less", "more", "first", "yes"],
)
def test_a_weight_within_ten_percent_or_confirmed_asks_nothing_clinical_md_3_1(
    *, confirmed: bool | None, last_kg: float | None
) -> None:
    assert judged(IV, baseline=BASE | {"weight_confirmed": confirmed}, last_weight_kg=last_kg) == []


DOSED = Given(28, 1, NOW - timedelta(minutes=5))
OF_NOW = Pressure(130, 85, NOW - timedelta(minutes=1))


@pytest.mark.parametrize(
    ("given", "pressure", "codes"),
    [
        (Given(), replace(OF_NOW, systolic=141), ["blood_pressure"]),
        (Given(), replace(OF_NOW, diastolic=101), ["blood_pressure_contraindicated"]),
        (DOSED, replace(OF_NOW, systolic=200, diastolic=115), ["blood_pressure_contraindicated"]),
        (DOSED, replace(OF_NOW, systolic=141), ["blood_pressure"]),
        (DOSED, OF_NOW, []),
    ],
)
def test_the_newest_pressure_counts_before_the_first_dose_and_after_it_clinical_md_3_3(
    given: Given, pressure: Pressure, codes: list[str]
) -> None:
    assert [code for code, _ in judged(ESKETAMINE, given=given, pressure=pressure)] == codes


def test_a_better_reading_hides_no_baseline_until_a_dose_was_given() -> None:
    high = BASE | {"systolic": 150}
    assert judged(IV, baseline=high, pressure=OF_NOW) == [("blood_pressure", "overridable")]
    assert judged(IV, baseline=high, pressure=OF_NOW, given=DOSED) == []


@pytest.mark.parametrize(
    ("pressure", "changed", "codes"),
    [
        (replace(OF_NOW, at=NOW - timedelta(minutes=16)), {}, ["pressure_expired"]),
        (None, {"baseline_at": NOW - timedelta(minutes=16)}, ["pressure_expired"]),
        (OF_NOW, {"baseline_at": NOW - timedelta(minutes=16)}, []),
        (OF_NOW, {"antihypertensive_at": NOW}, ["remeasurement_due"]),
        (OF_NOW, {"antihypertensive_at": NOW - timedelta(minutes=2)}, []),
    ],
)
def test_after_a_dose_the_pressure_is_measured_again_when_it_is_old_or_was_treated_clinical_md_10(
    pressure: Pressure | None, changed: dict[str, Any], codes: list[str]
) -> None:
    assert [code for code, _ in judged(IV, given=DOSED, pressure=pressure, **changed)] == codes


@pytest.mark.parametrize(
    ("own", "elsewhere", "missing"),
    [
        (timedelta(minutes=60), timedelta(hours=72), False),
        (timedelta(minutes=61), timedelta(hours=72), True),
        (timedelta(minutes=5), timedelta(minutes=4), True),
        (timedelta(hours=49), timedelta(hours=72), False),
    ],
)
def test_a_session_left_open_doses_again_after_its_gap_clinical_md_5(
    own: timedelta, elsewhere: timedelta, missing: bool
) -> None:
    found = judged(IV, given=Given(7, 1, NOW - own), last_dose_at=NOW - elsewhere, pressure=OF_NOW)
    assert found == ([("minimum_gap", "overridable")] if missing else [])


def test_a_consent_that_was_signed_again_stands() -> None:
    assert judged(IV, consents=AGAIN) == []


@pytest.mark.parametrize(
    ("proposed", "changed", "code", "kind"),
    [
        (dose(70.1), {"plan": IV_PLAN | {"dose_mg_per_kg": 1.0}}, "above_ceiling", "absolute"),
        (
            dose(36),
            {"given": Given(35, 1, NOW), "plan": IV_PLAN | {"dose_mg_per_kg": 1.0}},
            "above_ceiling",
            "absolute",
        ),
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
    found = judged(IM, dose=dose(35, checked_by=checked_by))
    assert found == ([("second_check_missing", "overridable")] if missing else [])


@pytest.mark.parametrize(
    ("person", "code", "kind"),
    [
        (None, "checker_unknown", "overridable"),
        (CHECKER | {"roles": []}, "checker_has_left", "absolute"),
        (
            CHECKER | {"valid_until": [{"credential": "licence", "date": "2026-01-09"}]},
            "checker_credential_expired",
            "absolute",
        ),
    ],
)
def test_the_second_person_is_one_of_the_staff_directory(person: dict[str, Any] | None, code: str, kind: str) -> None:
    assert judged(IM, dose=dose(35, checked_by="nurse-2"), checker=person) == [(code, kind)]
    assert judged(IV, dose=dose(35, checked_by="nurse-2"), checker=person) == []


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
    ("prescriber", "code", "kind"),
    [
        (None, "prescriber_unknown", "overridable"),
        (PRESCRIBER | {"roles": ["nurse"]}, "not_a_prescriber", "absolute"),
        (PRESCRIBER | {"locations": ["site-2"]}, "prescriber_elsewhere", "overridable"),
        (
            PRESCRIBER | {"valid_until": [{"credential": "licence", "date": "2026-01-09"}]},
            "prescriber_credential_expired",
            "absolute",
        ),
    ],
)
@pytest.mark.parametrize("protocol", [IV, ESKETAMINE], ids=lambda item: item.route)
def test_a_prescriber_who_is_named_on_site_is_looked_up_for_every_route(
    protocol: DosingProtocol, prescriber: dict[str, Any] | None, code: str, kind: str
) -> None:
    assert judged(protocol, prescriber=prescriber) == [(code, kind)]


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
    plan = PLAN | {"route": "esketamine_nasal", "dose_mg_per_kg": 2.0}
    found = judged(ESKETAMINE, dose=dose(amount_mg, "esketamine"), given=given, plan=plan)
    assert [code for code, _ in found] == codes


@pytest.mark.parametrize(
    ("last_minutes", "minutes_ago", "codes"), [(6, 2, ["device_gap"]), (6, 1, []), (4, -3, ["device_gap"])]
)
def test_the_pause_between_two_devices_is_that_of_their_use_and_not_of_the_writing_down(
    last_minutes: float, minutes_ago: float, codes: list[str]
) -> None:
    """What is said to be used later than now is used now."""
    second = dose(28, "esketamine", at=NOW - timedelta(minutes=minutes_ago))
    plan = PLAN | {"route": "esketamine_nasal", "dose_mg_per_kg": 2.0}
    given = Given(28, 1, NOW - timedelta(minutes=last_minutes))
    assert [code for code, _ in judged(ESKETAMINE, dose=second, given=given, plan=plan)] == codes


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
