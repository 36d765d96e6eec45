"""Every reason of the dose gate as a story: what others told, what was found here, and the refusal that it makes.

A visit for esketamine whose gate is open, with one thing changed. Where another reason cannot be kept out it is named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from services.monitoring.wiring import medicines
from shared.events import intake
from shared.events.envelope import Event
from shared.ids import new_id
from tests.integration.monitoring.test_dose_gate import (
    BASE,
    ESKETAMINE,
    PAST,
    READY,
    consent,
    eligible,
    plan,
    rems,
    risk,
    staff,
    summary,
)

SITE, UNCERTIFIED = new_id(), new_id()
SPRAY = ESKETAMINE | {"lot": "L", "expiry": "2099-01"}
SOURCES = ("intake", "intake_alarms", "scheduling")
NOTES = {
    f"interaction_{item.name}": item for item in medicines()["medicines-2026-11"].interactions if item.kind == "note"
}
OWN: dict[str, dict[str, Any]] = {
    "strict": {"gate": {"pregnancy_test": True, "two_person_check": True}, "devices": {"most": 1}},
    "fresh": {"gate": {"max_projection_age_s": 0}},
}
"""What the clinics' own versions of the protocol say otherwise."""

Told = Callable[[str, str], Event]
"""Of a patient and a plan."""
Where = Literal["main", "strict", "fresh"]
"""The clinic: by the product's protocol; by one that asks for more; by one to which no projection is new enough."""
Before = Literal["dosed", "dosed_just_now", "dosed_elsewhere", "moved_here", "treated", "weighed_elsewhere"]
"""What was done before the dose; a dose that was not just now was given ten minutes ago."""

BASICS: dict[str, Told] = {
    "plan": lambda p, of: plan(p, plan_id=of),
    "consent": lambda p, _: consent(p),
    "eligibility": lambda p, _: eligible(p),
    "summary": lambda p, _: summary(p),
    "rems": lambda p, _: rems(p),
}
STAFF = (
    staff("prescriber", at=SITE),
    staff("prescriber", at=SITE, until=date(2025, 12, 31), who="doctor-expired"),
    staff("prescriber", at=new_id(), who="doctor-elsewhere"),
    staff("prescriber", at=UNCERTIFIED, who="doctor-there"),
    staff("nurse", at=SITE, who="nurse-2"),
    staff(at=SITE, who="nurse-gone"),
    staff("nurse", at=SITE, until=date(2025, 12, 31), who="nurse-expired"),
)


@dataclass(frozen=True)
class Story:
    """`told` in the place of the basics, None where nobody told; `minutes` is how long ago the baseline was taken.

    `taken`: how many minutes ago the patient ate or drank, by what.
    """

    refused: Mapping[str, str]
    told: Mapping[str, Told | None] = field(default_factory=dict)
    opened: Mapping[str, Any] = field(default_factory=dict)
    ready: Mapping[str, Any] | None = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)
    dose: Mapping[str, Any] = field(default_factory=dict)
    taken: Mapping[str, float] = field(default_factory=dict)
    before: Before | None = None
    oximeter: bool = True
    minutes: float = 0
    where: Where = "main"

    def events(self, patient: str, plan_id: str) -> list[Event]:
        told = (BASICS | dict(self.told)).values()
        return [event(patient, plan_id) for event in told if event is not None]

    @property
    def readiness(self) -> dict[str, Any] | None:
        tested = {"pregnancy_test": "negative"} if self.where == "strict" else {}
        return None if self.ready is None else READY | tested | dict(self.ready)

    @property
    def baseline(self) -> dict[str, Any]:
        return BASE | dict(self.base)

    @property
    def proposed(self) -> dict[str, Any]:
        checked = {"checked_by": "nurse-2"} if self.where == "strict" else {}
        return {name: value for name, value in (SPRAY | checked | dict(self.dose)).items() if value is not None}


def absolute(code: str, **story: Any) -> Story:
    return Story({code: "absolute"}, **story)


def overridable(code: str, **story: Any) -> Story:
    return Story({code: "overridable"}, **story)


def note(*codes: str, **story: Any) -> Story:
    """A note refuses nothing; it is told beside what does."""
    beside = {"no_prescriber_on_site": "absolute"}
    return Story(dict.fromkeys(codes, "note") | beside, dose={"prescriber_on_site": None}, **story)


TOLD = [
    overridable("consent_unsigned", told={"consent": None}),
    absolute("consent_revoked", told={"consent": lambda p, _: consent(p, "revoked", intake.ConsentRevoked)}),
    overridable("consent_expired", told={"consent": lambda p, _: consent(p, "expired", intake.ConsentExpired)}),
    overridable("no_eligibility", told={"eligibility": None}),
    absolute("not_eligible", told={"eligibility": lambda p, _: eligible(p, "declined")}),
    overridable("eligibility_out_of_date", told={"eligibility": lambda p, _: eligible(p, valid_until=PAST)}),
    overridable("eligibility_other_route", told={"eligibility": lambda p, _: eligible(p, route="iv")}),
    overridable("plan_unknown", told={"plan": None}),
    absolute("plan_of_another", told={"plan": lambda _, of: plan(new_id(), plan_id=of)}),
    absolute(
        "plan_not_active",
        told={"plan": lambda p, of: plan(p, intake.TreatmentPlanPaused, plan_id=of, state="paused")},
    ),
    overridable("plan_other_route", told={"plan": lambda p, of: plan(p, plan_id=of, route="iv")}),
    overridable("above_plan", told={"plan": lambda p, of: plan(p, plan_id=of, dose_mg_per_kg=0.1)}),
    absolute("risk_hold", told={"risk": lambda p, _: risk(p)}),
    overridable("summary_unknown", told={"summary": None}),
    absolute("allergy", told={"summary": lambda p, _: summary(p, allergies=["rxnorm:6130"])}),
    absolute("interaction_xanthines", told={"summary": lambda p, _: summary(p, medications=["rxnorm:10438"])}),
    overridable("interaction_cns_depressants", told={"summary": lambda p, _: summary(p, medications=["rxnorm:7052"])}),
    overridable("rems_unknown", told={"rems": None}),
    absolute("rems_not_enrolled", told={"rems": lambda p, _: rems(p, "disenrolled")}),
    overridable("site_unknown", opened={"location_id": new_id()}),
    absolute("site_not_certified", opened={"location_id": UNCERTIFIED}, dose={"prescriber_on_site": "doctor-there"}),
    overridable("prescriber_elsewhere", dose={"prescriber_on_site": "doctor-elsewhere"}),
    absolute("no_prescriber_on_site", dose={"prescriber_on_site": None}),
    overridable("prescriber_unknown", dose={"prescriber_on_site": "stranger"}),
    absolute("not_a_prescriber", dose={"prescriber_on_site": "nurse-2"}),
    absolute("prescriber_credential_expired", dose={"prescriber_on_site": "doctor-expired"}),
    overridable("second_check_missing", where="strict", dose={"checked_by": None}),
    overridable("checker_unknown", where="strict", dose={"checked_by": "stranger"}),
    absolute("checker_has_left", where="strict", dose={"checked_by": "nurse-gone"}),
    absolute("checker_credential_expired", where="strict", dose={"checked_by": "nurse-expired"}),
    Story({f"behind_{source}": "overridable" for source in SOURCES}, where="fresh"),
]
HERE = [
    overridable("readiness_missing", ready=None),
    overridable("not_fasting", ready={"fasting": False}),
    overridable("fasting_clear_liquids", taken={"clear_liquids": 1}),
    overridable("fasting_light_meal", taken={"light_meal": 60}),
    overridable("fasting_fatty_meal", taken={"fatty_meal": 60}),
    overridable("no_escort", ready={"escort_named": False}),
    overridable("escort_not_reachable", ready={"escort_reachable": False}),
    overridable("not_well", ready={"well_today": False}),
    overridable("medication_changed", ready={"medication_changes": True}),
    absolute("pregnancy", ready={"pregnancy_test": "positive"}),
    overridable("pregnancy_test_missing", where="strict", ready={"pregnancy_test": None}),
    absolute("no_baseline", before="moved_here", minutes=12),
    overridable("baseline_expired", minutes=16),
    overridable("pressure_expired", minutes=16, before="dosed"),
    overridable("remeasurement_due", before="treated"),
    overridable("blood_pressure", base={"systolic": 141}),
    absolute("blood_pressure_contraindicated", base={"systolic": 181}),
    overridable("suicidal_ideation", base={"suicidal_ideation": True}),
    overridable("suicide_question_unanswered", base={"suicidal_ideation": None}),
    overridable("weight_changed", before="weighed_elsewhere", base={"weight_kg": 90}),
    absolute("no_oximeter", oximeter=False),
    overridable("minimum_gap", before="dosed_elsewhere", minutes=12),
    absolute("other_medication", dose={"medication": "ketamine"}),
    absolute("lot_expired", dose={"expiry": "2025-12"}),
    absolute("device_amount", dose={"amount_mg": 14}),
    Story(
        {"above_ceiling": "absolute", "device_amount": "absolute"},
        told={"plan": lambda p, of: plan(p, plan_id=of, dose_mg_per_kg=2)},
        base={"weight_kg": 39},
        dose={"amount_mg": 84},
    ),
    Story(
        {"above_ceiling_mg": "absolute", "device_amount": "absolute"}, base={"weight_kg": 90}, dose={"amount_mg": 85}
    ),
    overridable("device_gap", before="dosed_just_now"),
    absolute("devices_used", before="dosed", minutes=12, where="strict"),
    note("no_plan", opened={"plan_id": None}, told={"plan": None}),
    overridable("plan_not_named", opened={"plan_id": None}),
    note("scales_missing", base={"moaas": None, "cadss6": None}),
    note(
        *NOTES,
        told={"summary": lambda p, _: summary(p, medications=[item.codes[0] for item in NOTES.values()])},
    ),
]
STORIES = {"-".join(list(story.refused)[:2]): story for story in (*TOLD, *HERE)}
