"""The gate over the running use cases: what others told arrives as events, the dose is refused, the refusal is told."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest

from services.monitoring import schemas, schemas_entries
from services.monitoring import schemas_session as bodies
from services.monitoring.protocol import DosingProtocol, SessionProtocol
from services.monitoring.usecases import baseline, dosing, entries, gating, sessions
from shared.errors import Conflict, Forbidden
from shared.events import intake, scheduling
from shared.events.envelope import Event, rfc3339
from shared.ids import derived_id, new_id
from tests.integration.monitoring.world import CLINIC, NURSE, PRESCRIBER, Chair, minutes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=30), NOW + timedelta(days=30)
READY = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70, "moaas": 5, "cadss6": 0}
BASE |= {"suicidal_ideation": False}
ESKETAMINE = {"medication": "esketamine", "amount_mg": 28, "prescriber_on_site": "doctor-1"}
SITE, APPOINTMENT, PLAN = new_id(), new_id(), new_id()


def taken(**minutes_ago: float) -> dict[str, Any]:
    """What the patient had so long before the clock of the chair stands still."""
    return {"last_intake": {kind: rfc3339(NOW + minutes(1 - ago)) for kind, ago in minutes_ago.items()}}


def consent(patient: str, state: Any = "signed", kind: type[Event] = intake.ConsentSigned, **other: Any) -> Event:
    facts = {"patient_id": patient, "consent_id": derived_id(patient, "consent"), "version": "3", "signed_at": PAST}
    return kind(**(facts | {"document": "esketamine_treatment", "state": state} | other))


def eligible(
    patient: str, decision: Any = "approved", kind: type[Event] = intake.EligibilityDetermined, **other: Any
) -> Event:
    facts = {"patient_id": patient, "eligibility_id": new_id(), "indication": "icd10:F33.2", "reason_codes": []}
    return kind(**(facts | {"decided_at": PAST, "decision": decision} | other))


def plan(patient: str, kind: type[Event] = intake.TreatmentPlanActivated, **other: Any) -> Event:
    facts: dict[str, Any] = {
        "patient_id": patient,
        "plan_id": PLAN,
        "route": "esketamine_nasal",
        "medication": "esketamine",
    }
    facts |= {"dose_mg_per_kg": 1.2, "session_count": 8, "min_gap_hours": 48, "integration_after": True}
    return kind(**(facts | {"protocol_version": "1", "version": 1} | other))


def clinic(until: datetime | None = FUTURE) -> Event:
    places = [intake.Location(id=SITE, label="Main", rems_certified_until=until)]
    told = {"services": [], "languages": ["en"], "time_zone": "America/New_York"}
    return intake.ClinicChanged(clinic_id=CLINIC, locations=places, **told)


def staff(*roles: str, until: date | None = None, at: str = SITE, who: str = "doctor-1") -> Event:
    valid = [scheduling.Credential(credential="licence", date=until)] if until else []
    return scheduling.StaffChanged(staff_id=who, roles=list(roles), locations=[at], valid_until=valid)


def summary(patient: str, **other: list[str]) -> Event:
    facts: dict[str, Any] = {"allergies": [], "medications": [], "problems": []}
    return intake.ClinicalSummaryChanged(patient_id=patient, reconciled_at=PAST, **(facts | other))


def rems(patient: str, status: Any = "enrolled", until: datetime | None = None) -> Event:
    return intake.RemsEnrolmentChanged(patient_id=patient, status=status, valid_until=until)


def risk(patient: str, kind: type[Event] = intake.SuicideRiskFlagged, *, flagged: bool = True) -> Event:
    facts: dict[str, Any] = {"patient_id": patient, "flagged": flagged, "instrument": "cssrs", "level": "moderate"}
    return kind(**(facts | {"at": NOW}))


def visit(patient: str, kind: type[Event] = scheduling.AppointmentBooked, **other: Any) -> Event:
    facts: dict[str, Any] = {
        "patient_id": patient,
        "appointment_id": APPOINTMENT,
        "kind": "dosing",
        "mode": "in_person",
        "plan_id": PLAN,
    }
    facts |= {"location_id": SITE, "start": NOW, "end": FUTURE, "time_zone": "UTC", "resources": [], "sequence_no": 1}
    return kind(**(facts | other))


def readiness(patient: str, **checks: bool) -> Event:
    found = [scheduling.CheckResult(check=name, ok=ok) for name, ok in checks.items()]
    return scheduling.ReadinessRecorded(patient_id=patient, appointment_id=APPOINTMENT, ready=False, checks=found)


class Visit:
    """An esketamine visit that everything was told of; the gate is open when nothing is changed."""

    def __init__(self, chair: Chair, patient: str | None = None) -> None:
        self.chair, self.patient = chair, patient or new_id()
        chair.patient_id = self.patient

    async def arrives(
        self, ready: dict[str, Any] | None = READY, *, never_told: type[Event] | None = None, **base: Any
    ) -> "Visit":
        chair, patient = self.chair, self.patient
        told = (plan(patient), consent(patient), eligible(patient), summary(patient), rems(patient), clinic())
        for event in (*told, staff("prescriber"), visit(patient)):
            if type(event) is not never_told:
                await chair.tells(event)
        await chair.hears()
        chair.session_id = derived_id("session", APPOINTMENT)
        arrival = schemas.CheckIn(
            identity_confirmed=True,
            display_label="ADA",
            room="R",
            chair="2",
            responsible_staff=[schemas.Staff(role="nurse", staff_id="nurse-1")],
            readiness=schemas.Readiness(**ready) if ready else None,
        )
        await chair._run(lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, arrival))
        await self.measured(**base)
        await chair.measures(97, "59408-5")
        return self

    async def measured(self, **base: Any) -> None:
        body = schemas.Baseline(**(BASE | base))
        await self.chair._run(lambda unit: baseline.take(unit, self.chair.deps, self.chair.session_id, body))

    async def doses(self, scope: Any = NURSE, **other: Any) -> Any:
        body = schemas.Dose(**(ESKETAMINE | {"lot": "L", "expiry": "2028-01"} | other))
        return await self.chair._run(
            lambda unit: dosing.give(unit, self.chair.deps, self.chair.session_id, body), scope
        )

    async def refused(self, **other: Any) -> dict[str, str]:
        """The reasons with their classes; the session has not moved."""
        before = await self.chair.session()
        with pytest.raises(Conflict) as conflict:
            await self.doses(**other)
        assert await self.chair.session() == before
        return {reason["code"]: reason["class"] for reason in conflict.value.reasons}

    async def overridden(self, scope: Any = PRESCRIBER) -> Any:
        body = bodies.Override(reason_code="benefit_exceeds_risk", prescriber_on_site="doctor-1")
        return await self.chair._run(
            lambda unit: gating.override(unit, self.chair.deps, self.chair.session_id, body), scope
        )


async def test_the_gate_is_open_when_everything_was_told_and_nothing_stands_against_it(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    assert await chair.gate() == {"no_prescriber_on_site": "absolute"}
    assert (await visit_.doses())["state"] == "dosing"


TOLD: list[tuple[Callable[[str], Event], str, str]] = [
    (lambda p: consent(p, "revoked", intake.ConsentRevoked), "consent_revoked", "absolute"),
    (lambda p: consent(p, "expired", intake.ConsentExpired), "consent_expired", "overridable"),
    (lambda p: eligible(p, "declined"), "not_eligible", "absolute"),
    (lambda p: eligible(p, "deferred", intake.EligibilityState), "not_eligible", "absolute"),
    (
        lambda p: eligible(p, "approved", intake.EligibilityExpired, expired=True),
        "eligibility_out_of_date",
        "overridable",
    ),
    (lambda p: eligible(p, route="iv"), "eligibility_other_route", "overridable"),
    (lambda p: plan(p, intake.TreatmentPlanPaused, version=2, state="paused"), "plan_not_active", "absolute"),
    (lambda p: plan(p, intake.TreatmentPlanCompleted, version=2, state="completed"), "plan_not_active", "absolute"),
    (lambda _: plan(new_id(), version=2), "plan_of_another", "absolute"),
    (lambda p: plan(p, version=2, route="iv"), "plan_other_route", "overridable"),
    (risk, "risk_hold", "absolute"),
    (lambda p: risk(p, intake.RiskState), "risk_hold", "absolute"),
    (lambda p: summary(p, allergies=["rxnorm:6130"]), "allergy", "absolute"),
    (lambda p: summary(p, medications=["rxnorm:10438"]), "interaction_xanthines", "absolute"),
    (lambda p: summary(p, medications=["rxnorm:7052"]), "interaction_cns_depressants", "overridable"),
    (lambda p: rems(p, "disenrolled"), "rems_not_enrolled", "absolute"),
    (lambda p: rems(p, "enrolled", PAST), "rems_not_enrolled", "absolute"),
    (lambda _: clinic(None), "site_not_certified", "absolute"),
    (lambda _: clinic(PAST), "site_not_certified", "absolute"),
    (lambda _: staff("nurse"), "not_a_prescriber", "absolute"),
    (lambda _: staff("prescriber", until=date(2025, 12, 31)), "prescriber_credential_expired", "absolute"),
    (lambda _: staff("prescriber", at=new_id()), "prescriber_elsewhere", "overridable"),
    (lambda p: plan(p, version=2, dose_mg_per_kg=0.1), "above_plan", "overridable"),
]


@pytest.mark.parametrize(("event", "code", "kind"), TOLD, ids=[f"{row[1]}-{number}" for number, row in enumerate(TOLD)])
async def test_what_another_service_tells_closes_the_gate(
    chair: Chair, event: Callable[[str], Event], code: str, kind: str
) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.tells(event(chair.patient_id), version=2)
    assert await visit_.refused() == {code: kind}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (intake.ConsentSigned, "consent_unsigned"),
        (intake.EligibilityDetermined, "no_eligibility"),
        (intake.ClinicalSummaryChanged, "summary_unknown"),
        (intake.RemsEnrolmentChanged, "rems_unknown"),
        (intake.ClinicChanged, "site_unknown"),
        (scheduling.StaffChanged, "prescriber_unknown"),
    ],
)
async def test_what_nobody_told_closes_the_gate_until_a_prescriber_answers_for_it(
    chair: Chair, event: type[Event], code: str
) -> None:
    visit_ = await Visit(chair).arrives(never_told=event)
    assert await visit_.refused() == {code: "overridable"}
    assert (await visit_.doses(PRESCRIBER, override_reason="unheard"))["state"] == "dosing"


async def test_a_plan_that_is_not_known_here_is_one_of_these(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.mongo.plumbing("plans").delete({"_id": PLAN})
    assert await visit_.refused() == {"plan_unknown": "overridable"}


@pytest.mark.parametrize(
    ("rule", "answer", "code"),
    [
        ({"pregnancy_test": True}, {"pregnancy_test": "negative"}, "pregnancy_test_missing"),
        ({"two_person_check": True}, {"checked_by": "nurse-2"}, "second_check_missing"),
    ],
)
async def test_what_only_some_protocols_ask_for(
    chair: Chair, monkeypatch: pytest.MonkeyPatch, rule: dict[str, bool], answer: dict[str, Any], code: str
) -> None:
    protocols = cast("dict[str, SessionProtocol]", chair.deps.protocols)
    for version, protocol in [(name, item) for name, item in protocols.items() if isinstance(item, DosingProtocol)]:
        stricter = protocol.gate.model_copy(update=rule)
        monkeypatch.setitem(protocols, version, protocol.model_copy(update={"gate": stricter}))
    at_the_dose = "checked_by" in answer
    visit_ = await Visit(chair).arrives()
    await chair.tells(staff("nurse", who="nurse-2"))
    assert await visit_.refused() == {code: "overridable"}
    if at_the_dose:
        assert await visit_.refused(checked_by=NURSE.actor.id) == {code: "overridable"}
    else:
        change = {"$set": {f"readiness.{name}": value for name, value in answer.items()}}
        await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, change)
    assert (await visit_.doses(**(answer if at_the_dose else {})))["state"] == "dosing"


async def test_before_the_baseline_the_gate_says_so_and_notes_keep_nobody_out(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives(moaas=None, cadss6=None)
    assert (await chair.gate())["scales_missing"] == "note"
    assert (await visit_.doses())["state"] == "dosing"
    chair.patient_id = new_id()
    await chair.seat(dose=False)
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, {"$set": {"baseline": None}})
    found = await chair.gate()
    assert (found["no_baseline"], found["no_plan"]) == ("absolute", "note")


@pytest.mark.parametrize(
    ("ready", "base", "dose", "code", "kind"),
    [
        (READY | {"fasting": False}, {}, {}, "not_fasting", "overridable"),
        (READY | taken(clear_liquids=29), {}, {}, "fasting_clear_liquids", "overridable"),
        (READY | taken(light_meal=119), {}, {}, "fasting_light_meal", "overridable"),
        (READY | taken(fatty_meal=119), {}, {}, "fasting_fatty_meal", "overridable"),
        (READY | {"escort_named": False}, {}, {}, "no_escort", "overridable"),
        (READY | {"escort_reachable": False}, {}, {}, "escort_not_reachable", "overridable"),
        (READY | {"well_today": False}, {}, {}, "not_well", "overridable"),
        (READY | {"medication_changes": True}, {}, {}, "medication_changed", "overridable"),
        (READY | {"pregnancy_test": "positive"}, {}, {}, "pregnancy", "absolute"),
        (None, {}, {}, "readiness_missing", "overridable"),
        (READY, {"systolic": 141}, {}, "blood_pressure", "overridable"),
        (READY, {"systolic": 181}, {}, "blood_pressure_contraindicated", "absolute"),
        (READY, {"suicidal_ideation": True}, {}, "suicidal_ideation", "overridable"),
        (READY, {"suicidal_ideation": None}, {}, "suicide_question_unanswered", "overridable"),
        (READY, {"weight_kg": 25}, {"amount_mg": 84}, "above_ceiling", "absolute"),
        (READY, {}, {"medication": "ketamine"}, "other_medication", "absolute"),
        (READY, {}, {"amount_mg": 56}, "device_amount", "absolute"),
        (READY, {}, {"expiry": "2025-12"}, "lot_expired", "absolute"),
        (READY, {}, {"prescriber_on_site": None}, "no_prescriber_on_site", "absolute"),
        (READY, {}, {"prescriber_on_site": "stranger"}, "prescriber_unknown", "overridable"),
    ],
)
async def test_what_is_found_here_closes_the_gate(
    chair: Chair, ready: Any, base: dict[str, Any], dose: dict[str, Any], code: str, kind: str
) -> None:
    visit_ = await Visit(chair).arrives(ready, **base)
    assert (await visit_.refused(**dose))[code] == kind


async def test_projections_that_stand_still_for_a_minute_ask_a_human(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.hears(seconds_ago=61)
    behind = dict.fromkeys(("behind_intake", "behind_intake_alarms", "behind_scheduling"), "overridable")
    assert await visit_.refused() == behind
    assert (await visit_.doses(PRESCRIBER, override_reason="kafka_away"))["state"] == "dosing"


async def test_a_baseline_counts_for_fifteen_minutes(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    chair.clock.advance(15 * 60 + 1)
    await chair.hears()
    await chair.measures(97, "59408-5")
    assert await visit_.refused() == {"baseline_expired": "overridable"}
    await visit_.measured()
    assert (await visit_.doses())["state"] == "dosing"


async def test_after_an_antihypertensive_the_baseline_is_taken_again(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    given = schemas_entries.Intervention(intervention_code="antihypertensive")
    await chair._run(lambda unit: entries.add(unit, chair.deps, chair.session_id, "intervention", given))
    assert await visit_.refused() == {"remeasurement_due": "overridable"}
    chair.clock.advance(60)
    await chair.hears()
    await visit_.measured()
    assert (await visit_.doses())["state"] == "dosing"


async def test_without_an_oximeter_there_is_no_esketamine(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.mongo.plumbing("vitals").delete({"session_id": chair.session_id})
    await chair.measures(97, "59408-5", device="manual")
    await chair.measures(140, "59408-5")
    assert await visit_.refused() == {"no_oximeter": "absolute"}


async def test_a_dose_in_another_session_of_the_patient_less_than_the_gap_ago(chair: Chair) -> None:
    chair.clock.advance(47 * 3600)
    visit_ = await Visit(chair, chair.patient_id).arrives()
    assert await visit_.refused() == {"minimum_gap": "overridable"}


async def test_the_gap_counts_from_whichever_session_was_dosed_last_of_however_many(chair: Chair) -> None:
    """Ids of booked sessions are derived, so they are in no order of time."""
    last = (await chair.session())["started_at"]
    for number in range(7):
        long_ago = {"started_at": last - timedelta(days=30 + number), "doses": [{"at": last - timedelta(days=30)}]}
        older = await chair.session() | long_ago | {"_id": f"f{number}{new_id()[2:]}"}
        await chair._run(lambda unit, row=older: unit.collection("sessions").insert(row))
    chair.clock.advance(47 * 3600)
    visit_ = await Visit(chair, chair.patient_id).arrives()
    assert await visit_.refused() == {"minimum_gap": "overridable"}


async def test_a_risk_that_was_cleared_holds_nothing(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.tells(risk(chair.patient_id), version=1)
    await chair.tells(risk(chair.patient_id, intake.SuicideRiskCleared, flagged=False), version=2)
    await chair.tells(risk(chair.patient_id), version=1)
    assert (await visit_.doses())["state"] == "dosing"


async def test_an_override_is_a_prescribers_has_a_reason_and_holds_for_fifteen_minutes(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives(systolic=150)
    with pytest.raises(Forbidden):
        await visit_.overridden(NURSE)
    assert (await visit_.overridden())["state"] == "gate_open"
    rows = await chair.mongo.plumbing("outbox").find({"key": chair.patient_id.encode()})
    assert any(b"DoseGateOverridden" in dict(row["headers"])["ce_type"] for row in rows)
    await visit_.measured(systolic=150)
    assert await visit_.refused() == {"blood_pressure": "overridable"}
    await visit_.overridden()
    assert (await visit_.doses())["state"] == "dosing"


async def test_what_is_absolute_cannot_be_overridden(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await chair.tells(rems(chair.patient_id, "disenrolled"), version=2)
    with pytest.raises(Conflict):
        await visit_.overridden()
    with pytest.raises(Conflict):
        await visit_.doses(PRESCRIBER, override_reason="benefit_exceeds_risk")


async def test_what_scheduling_told_of_readiness_counts_until_check_in_says_more(chair: Chair) -> None:
    await chair.tells(plan(chair.patient_id))
    await chair.tells(visit(chair.patient_id))
    chair.session_id = derived_id("session", APPOINTMENT)
    await chair.tells(readiness(chair.patient_id, fasting=False, escort=True, well_today=True))
    found = set(await chair.gate())
    assert found & {"not_fasting", "no_escort", "readiness_missing"} == {"not_fasting"}


async def test_a_moved_visit_moves_its_session_and_an_older_booking_moves_it_not_back(chair: Chair) -> None:
    later = NOW + minutes(60)
    await chair.tells(visit(chair.patient_id), version=1)
    await chair.tells(visit(chair.patient_id, scheduling.AppointmentRescheduled, start=later), version=2)
    await chair.tells(visit(chair.patient_id), version=1)
    chair.session_id = derived_id("session", APPOINTMENT)
    assert (await chair.session())["planned_start"] == later


async def test_of_an_erased_patient_nothing_is_known_any_more(chair: Chair) -> None:
    await Visit(chair).arrives()
    await chair.tells(intake.PatientErased(patient_id=chair.patient_id), version=9)
    assert await chair.mongo.plumbing("known").find({"patient_id": chair.patient_id}) == []
