"""A plan's life, and what sessions do to it, whichever event comes first."""

from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from shared.events import intake
from shared.events.monitoring import AdverseEventReported, SessionAborted, SessionCompleted
from shared.ids import new_id
from tests.integration.intake.world import World

AT = datetime(2026, 3, 2, 15, tzinfo=UTC)
WHY = {"reason_code": "asked_by_the_patient"}


def adverse(world: World, session: str, *, serious: bool = True, **changed: Any) -> AdverseEventReported:
    fields: dict[str, Any] = {"event_code": "syncope", "severity": "severe", "onset_at": AT}
    return AdverseEventReported(patient_id=world.patient, session_id=session, serious=serious, **{**fields, **changed})


def completed(world: World, plan: str, session: str) -> SessionCompleted:
    return SessionCompleted(
        patient_id=world.patient,
        session_id=session,
        plan_id=plan,
        sequence_no=1,
        duration_min=90,
        dose_total_mg=35,
        alarm_count=0,
        outcome_code="completed",
    )


def aborted(
    world: World, plan: str | None, session: str, phase: Literal["baseline", "dosing", "recovery"] = "dosing"
) -> SessionAborted:
    return SessionAborted(
        patient_id=world.patient, session_id=session, plan_id=plan, reason_code="hypertension", phase=phase
    )


async def test_every_step_of_a_plan_tells_the_whole_plan(world: World) -> None:
    plan = await world.plan()
    path, revision = f"/v1/plans/{plan}", {"dose_mg_per_kg": 0.6, "reason_code": "partial_response"}
    await world.call("prescriber", "POST", f"{path}/revise", revision, version=2)
    await world.call("nurse", "POST", f"{path}/pause", WHY, version=3)
    await world.call("prescriber", "POST", f"{path}/resume", {"reason_code": "reviewed"}, version=4)
    last = await world.call("prescriber", "POST", f"{path}/discontinue", WHY, version=5)
    assert (last["state"], last["dose_mg_per_kg"], last["version"]) == ("discontinued", 0.6, 6)
    steps: list[tuple[Any, str, str | None]] = [
        (intake.TreatmentPlanActivated, "active", None),
        (intake.TreatmentPlanRevised, "active", "partial_response"),
        (intake.TreatmentPlanPaused, "paused", "asked_by_the_patient"),
        (intake.TreatmentPlanResumed, "active", "reviewed"),
        (intake.TreatmentPlanDiscontinued, "discontinued", "asked_by_the_patient"),
    ]
    for number, (kind, state, reason) in enumerate(steps):
        envelope, event = await world.event(kind)
        assert (event.state, event.reason_code, event.version) == (state, reason, number + 2)
        assert (event.plan_id, event.session_count, event.route, event.protocol_version) == (plan, 6, "iv", "2026-11")
        assert event.dose_mg_per_kg == (0.5 if number == 0 else 0.6)
        assert envelope.sequence == f"{number + 2:010d}.0001"
    ended = await world.ask("prescriber", "POST", f"{path}/resume", WHY, version=6)
    assert (ended.status_code, ended.json()["reasons"][0]["code"]) == (409, "plan_discontinued")


@pytest.mark.parametrize("verb", ["revise", "pause", "resume", "discontinue"])
async def test_a_change_needs_role_version_and_clinic(world: World, verb: str) -> None:
    plan = await world.plan()
    body = {**WHY, "session_count": 5} if verb == "revise" else WHY
    path = f"/v1/plans/{plan}/{verb}"
    assert (await world.ask("front_desk", "POST", path, body, version=2)).status_code == 403
    assert (await world.ask("patient", "POST", path, body, version=2)).status_code == 403
    nurse = (await world.ask("nurse", "POST", path, body, version=1)).status_code
    assert nurse == (412 if verb == "pause" else 403)
    assert (await world.ask("prescriber", "POST", path, body)).status_code == 428
    assert (await world.ask("prescriber", "POST", path, body, version=1)).status_code == 412
    assert (await world.ask("prescriber", "POST", path, body, version=2, clinic=new_id())).status_code == 404
    assert (await world.call("patient", "GET", f"/v1/plans/{plan}"))["version"] == 2


async def test_a_draft_is_revised_without_being_told_and_never_above_the_ceiling(world: World) -> None:
    plan = await world.plan(active=False)
    path = f"/v1/plans/{plan}/revise"
    above = await world.ask("prescriber", "POST", path, {**WHY, "dose_mg_per_kg": 1.1}, version=1)
    assert (above.status_code, above.json()["errors"][0]["code"]) == (422, "above_ceiling")
    await world.call("prescriber", "POST", path, {**WHY, "session_count": 8}, version=1)
    await world.call("prescriber", "POST", f"/v1/plans/{plan}/activate", version=2)
    _, event = await world.event(intake.TreatmentPlanActivated)
    assert (event.session_count, event.version) == (8, 3)
    assert await world.told(intake.TreatmentPlanRevised) == []


async def test_plans_are_listed_by_state_for_staff_and_their_patient(world: World) -> None:
    plans = [await world.plan(), await world.plan(active=False)]
    listed = (await world.call("patient", "GET", "{p}/plans"))["items"]
    assert [row["id"] for row in listed] == plans[::-1]
    drafts = (await world.call("front_desk", "GET", "{p}/plans?state=draft&route=iv"))["items"]
    assert [row["id"] for row in drafts] == [plans[1]]


async def test_a_serious_adverse_event_pauses_the_plan_until_a_prescriber_resumes_it(world: World) -> None:
    plan, session = await world.plan(), new_id()
    await world.send(adverse(world, session, serious=False, event_code="nausea"), adverse(world, session))
    paused = await world.plan_when(plan, "paused", ["serious_adverse_event"])
    assert (paused["reason_code"], paused["version"]) == ("serious_adverse_event", 3)
    _, event = await world.event(intake.TreatmentPlanPaused)
    assert (event.state, event.reason_code) == ("paused", "serious_adverse_event")
    assert event.review_codes == ["serious_adverse_event"]
    await world.call("prescriber", "POST", f"/v1/plans/{plan}/resume", {"reason_code": "reviewed"}, version=3)
    resolved = adverse(world, session, resolved_at=AT)
    await world.send(resolved, aborted(world, plan, new_id()))
    after = await world.plan_when(plan, "active", ["session_aborted"])
    assert after["version"] == 5
    assert len(await world.told(intake.TreatmentPlanPaused)) == 1


async def test_an_aborted_session_is_for_review_and_a_revision_answers_it(world: World) -> None:
    plan = await world.plan()
    await world.send(aborted(world, None, new_id()), aborted(world, plan, new_id()))
    noted = await world.plan_when(plan, "active", ["session_aborted"])
    envelope, state = await world.event(intake.PlanState)
    assert (state.state, state.review_codes, state.version) == ("active", ["session_aborted"], 3)
    assert envelope.sequence == "0000000003.0001"
    revision = {"dose_mg_per_kg": 0.4, "reason_code": "aborted"}
    await world.call("prescriber", "POST", f"/v1/plans/{plan}/revise", revision, version=noted["version"])
    assert (await world.call("nurse", "GET", f"/v1/plans/{plan}"))["review_codes"] == []


@pytest.mark.parametrize("first", ["completed", "adverse", "aborted"])
async def test_the_last_session_and_what_went_wrong_in_it_end_alike_in_each_order(world: World, first: str) -> None:
    plan, session = await world.plan(sessions=1), new_id()
    events = {
        "completed": completed(world, plan, session),
        "adverse": adverse(world, session),
        "aborted": aborted(world, plan, session),
    }
    await world.send(events.pop(first), *events.values())
    after = await world.plan_when(plan, "completed", ["serious_adverse_event", "session_aborted"])
    assert after["sessions_done"] == 1
    _, event = await world.event(intake.TreatmentPlanCompleted)
    assert (event.sessions_done, event.session_count, event.state) == (1, 1, "completed")
    assert len(await world.told(intake.TreatmentPlanPaused)) == (1 if first == "adverse" else 0)
