"""The gate at a second dose, whose plan a session may go by, and who the second person is."""

from datetime import date
from typing import cast

import pytest

from services.monitoring import schemas
from services.monitoring.protocol import DosingProtocol, SessionProtocol
from services.monitoring.usecases import sessions
from shared.events import intake
from shared.events.envelope import Event
from shared.ids import new_id
from tests.integration.monitoring.test_dose_gate import PLAN, Visit, plan, staff, visit
from tests.integration.monitoring.world import PRESCRIBER, Chair, minutes


async def test_three_devices_one_by_one_and_never_a_fourth(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives(weight_kg=90)
    await visit_.doses()
    assert (await visit_.refused())["device_gap"] == "overridable"
    for number in (2, 3):
        chair.clock.advance(300)
        await chair.hears()
        assert [dose["device_no"] for dose in (await visit_.doses())["doses"]][-1] == number
    chair.clock.advance(300)
    await chair.hears()
    found = await visit_.refused()
    assert {"devices_used", "above_ceiling_mg"} <= set(found)


async def test_after_the_first_device_the_newest_pressure_decides(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await visit_.doses()
    chair.clock.advance(300)
    await chair.hears()
    await chair.sends(chair.reading(200), chair.reading(115, "8462-4"))
    assert await visit_.refused() == {"blood_pressure_contraindicated": "absolute"}
    chair.clock.advance(60)
    await chair.sends(chair.reading(150), chair.reading(85, "8462-4"))
    assert await visit_.refused() == {"blood_pressure": "overridable"}
    chair.clock.advance(16 * 60)
    await chair.hears()
    await chair.measures(97, "59408-5")
    await chair.sends(chair.reading(125))
    assert await visit_.refused() == {"pressure_expired": "overridable"}, "its diastolic is of before"
    await chair.sends(chair.reading(80, "8462-4"))
    assert [dose["device_no"] for dose in (await visit_.doses())["doses"]] == [1, 2]


async def test_a_device_whose_clock_is_wrong_neither_hides_a_pressure_nor_stays_the_newest(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    chair.clock.advance(61)
    await chair.hears()
    await chair.measures(150, at=chair.clock.clinical_now() + minutes(60))
    assert await visit_.refused() == {"blood_pressure": "overridable"}
    chair.clock.advance(61)
    await chair.hears()
    await chair.measures(122, device="m2")
    assert (await visit_.doses())["state"] == "dosing"


async def test_two_devices_written_down_together_were_used_when_it_is_said(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives(weight_kg=90)
    first = chair.clock.clinical_now()
    chair.clock.advance(360)
    await chair.hears()
    await visit_.doses(occurred_at=first)
    assert await visit_.refused(occurred_at=first + minutes(4)) == {"device_gap": "overridable"}
    later = await visit_.doses(occurred_at=first + minutes(60))
    assert later["doses"][-1]["at"] == chair.clock.clinical_now(), "not later than now"


async def test_nobody_passes_a_plan_that_is_held_by_naming_none(chair: Chair) -> None:
    await chair.tells(plan(chair.patient_id, intake.TreatmentPlanPaused, state="paused"))
    await chair.seat(dose=False)
    assert (await chair.gate())["plan_not_active"] == "absolute"
    await chair.tells(plan(chair.patient_id, intake.TreatmentPlanResumed, version=2), version=2)
    assert (await chair.gate())["plan_not_named"] == "overridable"


async def test_a_plan_that_is_complete_holds_nobody(chair: Chair) -> None:
    await chair.tells(plan(chair.patient_id, intake.TreatmentPlanCompleted, state="completed"))
    await chair.seat(dose=False)
    assert (await chair.gate())["no_plan"] == "note"


async def test_nobody_passes_the_amount_of_a_plan_by_naming_none(chair: Chair) -> None:
    """Everything was told, the plan among it; the session was opened without it."""
    visit_ = await Visit(chair).arrives()
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, {"$set": {"plan_id": None}})
    assert await visit_.refused() == {"plan_not_named": "overridable"}
    assert (await visit_.doses(PRESCRIBER, override_reason="unplanned"))["state"] == "dosing"


async def test_a_session_is_of_its_plans_route_where_none_is_named(chair: Chair) -> None:
    await chair.tells(plan(chair.patient_id))
    asked = schemas.NewSession(patient_id=chair.patient_id, plan_id=PLAN)
    opened = await chair._run(lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    assert chair.deps.dosing(opened).route == "esketamine_nasal"


async def test_a_visit_that_was_booked_before_its_plan_was_known_begins_by_the_plans_route(chair: Chair) -> None:
    await chair.tells(visit(chair.patient_id))
    await Visit(chair, chair.patient_id).arrives()
    assert chair.deps.dosing(await chair.session()).route == "esketamine_nasal"


def asks_for_two(chair: Chair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol wants a second person at each dose."""
    protocols = cast("dict[str, SessionProtocol]", chair.deps.protocols)
    protocol = cast("DosingProtocol", chair.deps.protocol_of("esketamine_nasal"))
    stricter = protocol.gate.model_copy(update={"two_person_check": True})
    monkeypatch.setitem(protocols, protocol.version, protocol.model_copy(update={"gate": stricter}))


@pytest.mark.parametrize(
    ("told", "code", "kind"),
    [
        (None, "checker_unknown", "overridable"),
        (staff(who="nurse-2"), "checker_has_left", "absolute"),
        (staff("nurse", who="nurse-2", until=date(2025, 12, 31)), "checker_credential_expired", "absolute"),
    ],
)
async def test_the_second_person_is_looked_for_in_the_staff_directory(
    chair: Chair, monkeypatch: pytest.MonkeyPatch, told: Event | None, code: str, kind: str
) -> None:
    asks_for_two(chair, monkeypatch)
    visit_ = await Visit(chair).arrives()
    if told is not None:
        await chair.tells(told)
    assert await visit_.refused(checked_by="nurse-2") == {code: kind}


async def test_a_weight_far_from_that_of_the_session_before_is_confirmed_with_the_baseline(chair: Chair) -> None:
    """The session before weighed 70 kg, and one that was opened by mistake far less."""
    mistaken = await chair.session() | {"_id": new_id(), "state": "voided", "baseline_at": chair.clock.clinical_now()}
    mistaken["baseline"] = {**mistaken["baseline"], "weight_kg": 40}
    await chair._run(lambda unit: unit.collection("sessions").insert(mistaken))
    chair.clock.advance(72 * 3600)
    visit_ = await Visit(chair, chair.patient_id).arrives(weight_kg=77.5)
    assert await visit_.refused() == {"weight_changed": "overridable"}
    await visit_.measured(weight_kg=77.5, weight_confirmed=True)
    assert (await visit_.doses())["state"] == "dosing"


@pytest.mark.parametrize(
    ("systolic", "diastolic", "refused"),
    [(160, 80, False), (161, 80, True), (150, 90, False), (150, 91, True)],
    ids=["as far as the margin", "systolic worse", "diastolic as far", "diastolic worse"],
)
async def test_an_override_holds_for_the_pressure_that_it_was_given_for(
    chair: Chair, systolic: float, diastolic: float, *, refused: bool
) -> None:
    visit_ = await Visit(chair).arrives(systolic=150)
    await visit_.overridden()
    chair.clock.advance(61)
    await chair.hears()
    await chair.sends(chair.reading(systolic), chair.reading(diastolic, "8462-4"))
    if refused:
        assert await visit_.refused() == {"blood_pressure": "overridable"}
        await visit_.overridden()
    assert (await visit_.doses())["state"] == "dosing"


async def test_an_override_of_before_that_kept_no_pressure_holds(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives(systolic=150)
    await visit_.overridden()
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, {"$unset": {"gate_override.pressure": ""}})
    chair.clock.advance(61)
    await chair.hears()
    await chair.sends(chair.reading(170), chair.reading(85, "8462-4"))
    assert (await visit_.doses())["state"] == "dosing"
