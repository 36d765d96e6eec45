"""The discharge gate: each criterion by itself, by route, with who signs and what nobody may override."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.monitoring.discharge import DischargeRules, Findings, absolute, criteria, detail, last_given
from services.monitoring.protocol import DosingProtocol
from services.monitoring.wiring import make_deps
from shared.persistence.vault import KeyRing

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEPS = make_deps(KeyRing("k1:" + b64encode(b"k" * 32).decode()))
ROUTES = ("iv", "im", "sublingual", "esketamine_nasal")
AFTERCARE = ["no_driving", "written_instructions", "emergency_contact"]
RESOLVED = ("minimum_time", "moaas", "dissociation_resolved", "breathing_resolved")
FIT: dict[str, Any] = {
    "route": "iv",
    "role": "prescriber",
    "now": NOW,
    "last_dose_at": NOW - timedelta(minutes=180),
    "aldrete": 9,
    "padss": 9,
    "moaas": 5,
    "cadss": 4,
    "cadss_before": 0,
    "dissociation_resolved": True,
    "escort_confirmed": True,
    "aftercare": AFTERCARE,
    "baseline_systolic": 120.0,
    "systolic": 130.0,
    "baseline_diastolic": 80.0,
    "diastolic": 84.0,
    "spo2": 97.0,
    "respiratory_rate": 14.0,
    "breathing_beyond": [],
    "breathing_alarms": 0,
    "open_alarms": 0,
    "emergency": False,
}


def rules(route: str = "iv") -> DischargeRules:
    protocol = DEPS.protocol_of_route(route)
    assert isinstance(protocol, DosingProtocol)
    return protocol.discharge


def unmet(route: str = "iv", **changed: Any) -> list[str]:
    found = Findings(**(FIT | {"route": route} | changed))
    return [item.criterion for item in criteria(rules(route), found) if not item.met]


@pytest.mark.parametrize("route", ROUTES)
def test_a_fit_patient_with_an_escort_may_leave(route: str) -> None:
    assert unmet(route) == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"last_dose_at": None}, "minimum_time"),
        ({"aldrete": 8}, "aldrete"),
        ({"aldrete": None}, "aldrete"),
        ({"padss": 8}, "padss"),
        ({"padss": None}, "padss"),
        ({"moaas": 4}, "moaas"),
        ({"moaas": None}, "moaas"),
        ({"dissociation_resolved": False}, "dissociation_resolved"),
        ({"cadss": 5}, "dissociation_resolved"),
        ({"escort_confirmed": False}, "escort_confirmed"),
        ({"aftercare": AFTERCARE[1:]}, "aftercare_given"),
        ({"systolic": 145.0}, "blood_pressure_near_baseline"),
        ({"systolic": 95.0}, "blood_pressure_near_baseline"),
        ({"systolic": None}, "blood_pressure_near_baseline"),
        ({"baseline_systolic": None}, "blood_pressure_near_baseline"),
        ({"diastolic": 97.0}, "blood_pressure_near_baseline"),
        ({"diastolic": 63.0}, "blood_pressure_near_baseline"),
        ({"diastolic": None}, "blood_pressure_near_baseline"),
        ({"baseline_diastolic": None}, "blood_pressure_near_baseline"),
        ({"breathing_beyond": ["spo2_warning_low"]}, "breathing_resolved"),
        ({"breathing_alarms": 1}, "breathing_resolved"),
        ({"open_alarms": 1}, "no_open_alarm"),
        ({"emergency": True}, "no_emergency"),
        ({"role": "clinician"}, "signature"),
    ],
)
def test_each_criterion_keeps_the_patient_here(route: str, changed: dict[str, object], reason: str) -> None:
    assert unmet(route, **changed) == [reason]


@pytest.mark.parametrize(
    ("route", "minutes"), [("iv", 60), ("im", 120), ("sublingual", 180), ("esketamine_nasal", 120)]
)
def test_minimum_time_by_route_clinical_md_5_counts_from_the_last_dose(route: str, minutes: int) -> None:
    almost = NOW - timedelta(minutes=minutes) + timedelta(seconds=1)
    assert unmet(route, last_dose_at=almost) == ["minimum_time"]
    assert unmet(route, last_dose_at=NOW - timedelta(minutes=minutes)) == []


def test_two_hour_rule_rems_fda_clinical_md_6_counts_from_the_last_device_recorded_in_any_order() -> None:
    devices = [{"at": NOW - timedelta(minutes=ago)} for ago in (125, 115, 120)]
    last = last_given({"doses": devices}, infused=False)
    assert last == NOW - timedelta(minutes=115)
    assert unmet("esketamine_nasal", last_dose_at=last) == ["minimum_time"]


def test_two_hour_rule_rems_fda_clinical_md_6_is_a_floor_and_no_override_passes_it() -> None:
    assert set(RESOLVED) <= absolute(rules("esketamine_nasal"), "esketamine_nasal")
    assert "minimum_time" not in absolute(rules("iv"), "iv")


def test_two_hour_rule_rems_fda_clinical_md_6_holds_whatever_a_clinics_protocol_lists() -> None:
    lenient = rules("esketamine_nasal").model_copy(update={"absolute": [], "nurse_may_sign": True})
    assert set(RESOLVED) <= absolute(lenient, "esketamine_nasal")
    found = Findings(**(FIT | {"route": "esketamine_nasal", "role": "nurse"}))
    assert [item.criterion for item in criteria(lenient, found) if not item.met] == ["signature"]


def test_the_time_of_an_infusion_counts_from_its_end() -> None:
    began, ended = NOW - timedelta(minutes=90), NOW - timedelta(minutes=50)
    session = {"doses": [{"at": began}], "infusion": {"state": "stopped", "since": ended}}
    assert last_given(session, infused=True) == ended
    for state in ("running", "paused"):
        assert last_given(session | {"infusion": {"state": state, "since": ended}}, infused=True) is None


def test_the_time_of_an_infusion_that_nobody_stopped_has_not_begun_clinical_md_5() -> None:
    assert last_given({"doses": [{"at": NOW - timedelta(minutes=90)}], "infusion": None}, infused=True) is None


def test_a_stop_of_what_is_not_infused_moves_no_time_clinical_md_5() -> None:
    given, ended = NOW - timedelta(minutes=120), NOW - timedelta(minutes=80)
    for rate, counts in ((None, given), (40, ended)):  # with a rate it was infused, whatever the route
        infusion = {"state": "stopped", "since": ended, "rate_mg_per_h": rate}
        assert last_given({"doses": [{"at": given}], "infusion": infusion}, infused=False) == counts


@pytest.mark.parametrize(
    ("route", "changed", "name", "words"),
    [
        ("iv", {"last_dose_at": None}, "minimum_time", "The minimum time has not begun"),
        ("iv", {}, "minimum_time", "The criterion minimum_time is not met."),
        ("esketamine_nasal", {"spo2": None}, "breathing_resolved", "SpO2 was not measured"),
        ("iv", {"breathing_beyond": ["rr_warning_low"]}, "breathing_resolved", "of recovery: rr_warning_low."),
        ("iv", {"baseline_systolic": None}, "blood_pressure_near_baseline", "No baseline pressure is known"),
        ("iv", {"baseline_diastolic": None}, "blood_pressure_near_baseline", "No baseline pressure is known"),
        ("iv", {"emergency": True}, "no_emergency", "has not ended (/emergency/end)."),
    ],
)
def test_words_say_why_a_criterion_is_not_met(route: str, changed: dict[str, object], name: str, words: str) -> None:
    assert words in detail(name, Findings(**(FIT | {"route": route} | changed)))


@pytest.mark.parametrize("route", ROUTES)
def test_saturation_is_measured_where_rems_fda_clinical_md_2_has_an_oximeter_present(route: str) -> None:
    assert unmet(route, spo2=None) == (["breathing_resolved"] if route == "esketamine_nasal" else [])
    assert unmet(route, respiratory_rate=None) == []


@pytest.mark.parametrize("route", ROUTES)
def test_respiratory_depression_passes_no_override_for_esketamine_alone_rems_fda_clinical_md_2(route: str) -> None:
    assert ("breathing_resolved" in absolute(rules(route), route)) == (route == "esketamine_nasal")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("role", ["prescriber", "medical_director", "nurse", "clinician"])
def test_a_nurse_signs_on_criteria_where_the_protocol_says_so_and_never_for_esketamine(route: str, role: str) -> None:
    signs = role in ("prescriber", "medical_director") or (role == "nurse" and route != "esketamine_nasal")
    assert unmet(route, role=role) == ([] if signs else ["signature"])


def test_dissociation_is_resolved_when_it_is_no_more_than_before_the_dose() -> None:
    assert unmet(cadss=6, cadss_before=6) == []
    assert unmet(cadss=None) == []


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_leaves_without_escort_aftercare_and_signature_whatever_a_clinics_protocol_lists(route: str) -> None:
    lenient = rules(route).model_copy(update={"absolute": []})
    assert {"escort_confirmed", "aftercare_given", "signature"} <= absolute(lenient, route)


def test_nobody_is_discharged_while_the_dose_runs_whatever_the_minimum_is() -> None:
    at_once = rules().model_copy(update={"min_minutes_after_dose": 0})
    found = Findings(**(FIT | {"last_dose_at": None}))
    assert [item.criterion for item in criteria(at_once, found) if not item.met] == ["minimum_time"]
