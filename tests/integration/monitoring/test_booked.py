"""A booked visit: by which protocol it is watched, and what becomes of it when it was checked in or voided by mistake."""

from typing import Any

import orjson
import pytest

from services.monitoring import schemas
from services.monitoring.usecases import baseline, ending, sessions
from shared.events import scheduling
from shared.ids import new_id
from shared.messaging.outcomes import Done, Skip
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_dose_gate import APPOINTMENT, PLAN, plan, visit
from tests.integration.monitoring.test_protocols import arrival
from tests.integration.monitoring.world import NURSE, Chair

BASE = schemas.Baseline(systolic=120, diastolic=80, heart_rate=70, spo2=98, weight_kg=70)


async def of_visit(chair: Chair) -> Document:
    """The one session of the appointment."""
    (row,) = await chair.mongo.plumbing("sessions").find({"appointment_id": APPOINTMENT})
    return row


async def arrives(chair: Chair) -> str:
    """The protocol of the visit from check-in on."""
    booked = (await of_visit(chair))["_id"]
    row = await chair.mongo.run(NURSE, lambda unit: sessions.check_in(unit, chair.deps, booked, arrival()))
    return str(row["protocol_version"])


async def voids(chair: Chair) -> Document:
    """By mistake, or because of one: whose it was before."""
    before = await of_visit(chair)
    mistake = schemas.Abort(reason_code="wrong_patient")
    await chair._run(lambda unit: ending.void(unit, chair.deps, before["_id"], mistake))
    return before


@pytest.fixture
async def booked(chair: Chair) -> Chair:
    await chair.tells(plan(chair.patient_id))
    await chair.tells(visit(chair.patient_id))
    return chair


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("dosing", "esketamine-2026-11"),
        ("group", "esketamine-2026-11"),
        ("preparation", "preparation-2026-11"),
        ("integration", "integration-2026-11"),
        ("wellness", "wellness-2026-11"),
    ],
)
async def test_a_visit_of_a_plan_is_watched_by_its_route_only_where_a_dose_may_be_given(
    chair: Chair, kind: Any, version: str
) -> None:
    patient = new_id()
    await chair.tells(plan(patient))
    await chair.tells(visit(patient).model_copy(update={"kind": kind}))
    assert await arrives(chair) == version


async def test_a_visit_that_was_booked_before_its_plan_was_known_is_dosed_by_the_plans_route(chair: Chair) -> None:
    patient = new_id()
    await chair.tells(visit(patient))
    await chair.tells(plan(patient))
    assert await arrives(chair) == "esketamine-2026-11"


@pytest.mark.parametrize("known", ["before check-in", "before the baseline", "after the baseline"])
async def test_what_was_opened_before_its_plan_was_known_goes_by_the_plans_route_once_it_is(
    chair: Chair, known: str
) -> None:
    patient = new_id()
    asked = schemas.NewSession(patient_id=patient, plan_id=PLAN)
    opened = await chair._run(lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    chair.session_id = opened["_id"]
    steps = [
        ("before check-in", lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, arrival())),
        ("before the baseline", lambda unit: baseline.take(unit, chair.deps, chair.session_id, BASE)),
        ("after the baseline", lambda unit: baseline.take(unit, chair.deps, chair.session_id, BASE)),
    ]
    for moment, step in steps:
        if moment == known:
            assert chair.deps.dosing(await chair.session()).route == "iv"
            await chair.tells(plan(patient))
        await chair._run(step)
    assert chair.deps.dosing(await chair.session()).route == "esketamine_nasal"
    assert "plan_other_route" not in await chair.gate()


async def test_a_route_that_a_person_named_stays_whatever_the_plan_says(chair: Chair) -> None:
    patient = new_id()
    asked = schemas.NewSession(patient_id=patient, plan_id=PLAN, route="im")
    opened = await chair._run(lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    chair.session_id = opened["_id"]
    await chair.tells(plan(patient))
    await chair._run(lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, arrival()))
    await chair._run(lambda unit: baseline.take(unit, chair.deps, chair.session_id, BASE))
    assert (await chair.gate())["plan_other_route"] == "overridable"


# Mistakes


async def test_a_visit_whose_check_in_was_a_mistake_is_checked_in_when_its_patient_comes(booked: Chair) -> None:
    await arrives(booked)
    mistaken = (await of_visit(booked))["_id"]
    await booked._run(lambda unit: baseline.take(unit, booked.deps, mistaken, BASE))
    before = await voids(booked)
    waiting = await of_visit(booked)
    names = ("patient_id", "plan_id", "sequence_no", "location_id", "planned_start", "route_by_plan")
    assert {name: waiting[name] for name in names} == {name: before[name] for name in names}
    assert (waiting["state"], waiting["baseline"], waiting["readiness"]) == ("scheduled", None, None)
    assert await arrives(booked) == "esketamine-2026-11"


async def test_the_record_of_a_check_in_by_mistake_names_the_session_in_its_place(booked: Chair) -> None:
    await arrives(booked)
    before = await voids(booked)
    (entry,) = await booked.mongo.plumbing("entries").find({"session_id": before["_id"], "kind": "voided"})
    assert entry["facts"]["replaced_by"] == (await of_visit(booked))["_id"]


async def test_that_a_check_in_was_a_mistake_is_told_with_its_appointment(booked: Chair) -> None:
    await arrives(booked)
    before = await voids(booked)
    rows = await booked.mongo.plumbing("outbox").find({"key": booked.patient_id.encode()})
    told = [orjson.loads(row["value"]) for row in rows if b".SessionState." in dict(row["headers"])["ce_type"]]
    assert [(body["session_id"], body["appointment_id"], body["state"]) for body in told] == [
        (before["_id"], APPOINTMENT, "voided")
    ]


async def test_a_visit_that_moves_after_its_session_was_voided_has_one_again(booked: Chair) -> None:
    await voids(booked)
    assert (await of_visit(booked))["state"] == "voided"
    moved = visit(booked.patient_id, scheduling.AppointmentRescheduled)
    assert await booked.tells(moved, version=5) == Done()
    assert (await of_visit(booked))["state"] == "scheduled"


async def test_a_visit_that_moves_after_a_check_in_by_mistake_moves_the_session_that_waits(booked: Chair) -> None:
    await arrives(booked)
    await voids(booked)
    waiting = await of_visit(booked)
    later = waiting["planned_start"].replace(hour=15)
    await booked.tells(visit(booked.patient_id, scheduling.AppointmentRescheduled, start=later), version=5)
    moved = await of_visit(booked)
    assert (moved["_id"], moved["planned_start"]) == (waiting["_id"], later)


async def test_what_is_told_again_opens_nothing_that_was_voided(booked: Chair) -> None:
    await voids(booked)
    assert await booked.tells(visit(booked.patient_id)) == Skip("older_or_begun")
    assert (await of_visit(booked))["state"] == "voided"


async def test_a_visit_that_was_cancelled_is_not_opened_by_what_was_told_of_it_before(booked: Chair) -> None:
    cancelled = visit(booked.patient_id, scheduling.AppointmentCancelled, reason_code="patient")
    assert await booked.tells(cancelled, version=3) == Done()
    late = visit(booked.patient_id, scheduling.AppointmentConfirmed)
    assert await booked.tells(late, version=2) == Skip("older_or_begun")
    assert (await of_visit(booked))["state"] == "voided"
