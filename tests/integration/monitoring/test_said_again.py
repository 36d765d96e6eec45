"""A verb said again finds what it wanted: it is written down, and neither moves the session nor is told a second time."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases import answering, dosing, ending, entries, sessions
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Actor, Scope
from tests.integration.monitoring.world import CLINIC, NURSE, Chair

Act = Callable[[UnitOfWork, str], Awaitable[Document]]
ABORT = schemas.Abort(reason_code="unwell")


def infusion(verb: dosing.Verb) -> Act:
    return partial(_change_infusion, verb=verb)


async def _change_infusion(unit: UnitOfWork, session_id: str, verb: dosing.Verb) -> Document:
    return await dosing.change_infusion(unit, session_id, verb, schemas.Infusion())


async def abort(unit: UnitOfWork, session_id: str) -> Document:
    return await ending.abort(unit, session_id, ABORT)


async def state(chair: Chair) -> tuple[Document, int]:
    """The session, and how much was told of it."""
    return await chair.session(), len(await chair.mongo.plumbing("outbox").find({}))


@pytest.mark.parametrize("act", [infusion("pause"), infusion("stop"), abort], ids=["pause", "stop", "abort"])
async def test_it_moves_the_session_once_and_is_told_once(chair: Chair, act: Act) -> None:
    await chair.doses(amount_mg=1, rate_mg_per_h=40, override_reason="alone")
    before = await state(chair)
    await chair.mongo.run(NURSE, lambda unit: act(unit, chair.session_id))
    moved = await state(chair)
    assert (moved[0]["version"], moved[1] > before[1]) == (before[0]["version"] + 1, True)
    chair.clock.advance(1)
    await chair.mongo.run(NURSE, lambda unit: act(unit, chair.session_id))
    assert await state(chair) == moved


async def test_an_alarm_is_acknowledged_once_whoever_says_it_again(chair: Chair) -> None:
    await chair.measures(35)
    (alarm,) = await chair.alarms(rule="sbp_collapse")
    await chair.acknowledges(alarm["_id"])
    first = await chair.alarms(rule="sbp_collapse"), await chair.told()
    chair.clock.advance(1)
    await chair.acknowledges(alarm["_id"])
    assert (await chair.alarms(rule="sbp_collapse"), await chair.told()) == first
    assert first[1].count("AlarmAcknowledged") == 1


async def test_silence_tells_nobody_and_lasts_from_when_it_was_said_last(chair: Chair) -> None:
    await chair.measures(35)
    (alarm,) = await chair.alarms(rule="sbp_collapse")
    told = await chair.told()
    for _ in range(2):
        chair.clock.advance(10)
        await chair.mongo.run(NURSE, lambda unit: answering.silence(unit, alarm["_id"], schemas.Mute(seconds=60)))
    (after,) = await chair.alarms(rule="sbp_collapse")
    assert (await chair.told(), after["open"], after.get("acknowledged_at")) == (told, True, None)
    assert (after["silenced_until"] - chair.clock.clinical_now()).total_seconds() == 60


WRITTEN: dict[str, bodies.Entry] = {
    "observation": bodies.Observation(observation_code="pain", score=2),
    "intervention": bodies.Intervention(intervention_code="oxygen"),
    "adverse_event": bodies.AdverseEvent(event_code="nausea", severity="mild", serious=False),
}


async def write(chair: Chair, kind: str, *, scope: Scope = NURSE, session_id: str | None = None) -> Document:
    """What is kept of it beside what was said."""

    async def work(unit: UnitOfWork) -> Document:
        return await entries.add(unit, chair.deps, session_id or chair.session_id, kind, WRITTEN[kind])

    facts: Document = (await chair.mongo.run(scope, work))["facts"]
    return {name: facts[name] for name in entries.MARKS if name in facts}


@pytest.mark.parametrize("kind", WRITTEN)
async def test_an_equal_entry_of_the_same_author_within_a_minute_is_marked(chair: Chair, kind: str) -> None:
    assert await write(chair, kind) == {}
    chair.clock.advance(10)
    assert await write(chair, kind, scope=Scope(CLINIC, Actor("nurse-2", "nurse"))) == {}
    assert await write(chair, kind) == {"possible_repeat": True}
    chair.clock.advance(61)
    assert await write(chair, kind) == {}


@pytest.mark.parametrize("kind", WRITTEN)
async def test_what_is_written_down_before_check_in_is_noted_as_out_of_order(chair: Chair, kind: str) -> None:
    opened = schemas.NewSession(patient_id=chair.patient_id)

    async def work(unit: UnitOfWork) -> str:
        return str((await sessions.open_unscheduled(unit, chair.deps, opened))["_id"])

    session_id = await chair.mongo.run(NURSE, work)
    assert await write(chair, kind, session_id=session_id) == {"out_of_order": True}


@pytest.mark.parametrize("verb", ["pause", "stop"])
async def test_what_is_said_of_a_dose_that_runs_no_more_is_noted_as_out_of_order(
    chair: Chair, verb: dosing.Verb
) -> None:
    for name in ("stop", verb):
        await chair.mongo.run(NURSE, lambda unit, name=name: infusion(name)(unit, chair.session_id))  # type: ignore[misc]
        chair.clock.advance(1)
    rows = await chair.mongo.plumbing("entries").find({"kind": {"$in": ["dose_paused", "dose_stopped"]}})
    marked = [row["facts"].get("out_of_order", False) for row in sorted(rows, key=lambda row: row["recorded_at"])]
    assert marked == [False, True]
