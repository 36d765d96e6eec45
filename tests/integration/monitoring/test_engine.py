"""The engine on the real store: late readings, own limits, suppression, scales, combinations, and what was not measured."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from services.monitoring import schemas, schemas_entries
from services.monitoring.alarms import RuleState, Transition, evaluate
from services.monitoring.episodes import SPAN, Point
from services.monitoring.ingest import Ingest
from services.monitoring.protocol import Measurement, SessionProtocol
from services.monitoring.scales import SYMPTOMS
from services.monitoring.usecases import answering, correcting_entries, entries, limiting, scoring
from services.monitoring.usecases.due import SCHEDULE_TIMERS
from shared.errors import Conflict, Invalid
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.timers import TimerRunner
from tests.integration.monitoring.world import Chair, minutes

SPO2, RR, SYSTOLIC = "59408-5", "9279-1", "8480-6"


async def at_seconds(chair: Chair, *points: tuple[float, float], sign: str = SYSTOLIC) -> None:
    """One by one, in this order of arrival, all within the seconds in which the time of measurement counts."""
    start = chair.clock.clinical_now()
    chair.clock.advance(9)
    for second, value in points:
        await chair.measures(value, sign, at=start + timedelta(seconds=second))


async def test_a_breach_whose_end_arrived_first_alarms(chair: Chair) -> None:
    await at_seconds(chair, (7, 120), (0, 192), (6, 192), (8, 120))
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1


async def test_the_end_of_a_breach_that_comes_late_takes_no_alarm_back(chair: Chair) -> None:
    await at_seconds(chair, (0, 192), (3, 192), (6, 192), (4, 120), (7, 192))
    alarms = await chair.alarms(rule="sbp_critical_high")
    assert [row["open"] for row in alarms] == [True]


def pure(chair: Chair, session: Document, readings: Sequence[Any]) -> list[Transition]:
    """What the engine alone says to these readings in this order."""
    limits = chair.deps.limits(session)
    states: dict[str, RuleState] = {}
    stored: list[Point] = []
    found: list[Transition] = []
    for item in readings:
        near = [point for point in stored if item.taken_at - timedelta(minutes=1) <= point[0] <= item.taken_at + SPAN]
        states, more = evaluate(states, item.sign, item.value, item.taken_at, limits, near, item.device)
        stored.append((item.taken_at, item.value, item.device))
        found += more
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_three_replicas_with_the_readings_of_one_session_say_what_the_pure_engine_says(
    chair: Chair, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - dice
    replicas = [Ingest(chair.mongo, chair.deps, chair.memory) for _ in range(3)]
    session = (await chair.mongo.plumbing("sessions").find({"_id": chair.session_id}))[0]
    spells = [120, 192, *(dice.choice((120, 165, 192)) for _ in range(3))]
    sent = []
    for second in range(50):
        late = timedelta(seconds=dice.choice((0, 0, 0, 1, 3)))
        reading = chair.reading(spells[second // 10], at=chair.clock.clinical_now() - late, device=f"m{second % 3}")
        chair.ingest = dice.choice(replicas)
        sent.append(reading)
        await asyncio.gather(chair.sends(reading), _beside(chair, dice.choice(replicas)))
        chair.clock.advance(1)
    raised = [item for item in pure(chair, session, sent) if item.kind == "raised"]
    alarms = [row for row in await chair.alarms() if row["sign"] == SYSTOLIC and row["category"] == "physiological"]
    assert sorted((row["rule"], row["breach_since"]) for row in alarms) == sorted(
        (item.limit.name, item.state.breach_since) for item in raised
    )
    assert raised


async def _beside(chair: Chair, replica: Ingest) -> None:
    """Readings of another sign, so that the replicas write the same engine at the same time."""
    whose = replace_ingest(chair, replica)
    await whose.measures(92, SPO2, device=f"s{id(replica)}")


def replace_ingest(chair: Chair, replica: Ingest) -> Chair:
    other = Chair(chair.mongo, chair.clock)
    other.ingest, other.session_id, other.deps = replica, chair.session_id, chair.deps
    return other


async def limited(chair: Chair, *limits: tuple[str, float]) -> Document:
    body = schemas.OwnLimits(
        limits=[schemas.OwnLimit(rule=rule, bound=bound) for rule, bound in limits], reason_code="known_hypertension"
    )
    version = (await chair.session())["version"]
    row: Document = await chair._run(
        lambda unit: limiting.set_limits(unit, chair.deps, chair.session_id, body, version)
    )
    return row


async def test_a_prescriber_sets_the_limits_of_one_session_with_a_trail(chair: Chair) -> None:
    await limited(chair, ("sbp_critical_high", 200))
    await chair.lasts(192, 8)
    assert await chair.alarms(rule="sbp_critical_high") == []
    await chair.lasts(205, 8)
    assert [row["limit"] for row in await chair.alarms(rule="sbp_critical_high")] == [200]
    kept = await chair.mongo.plumbing("entries").find({"kind": "limits_changed"})
    assert kept[0]["facts"]["limits"] == {"sbp_critical_high": 200}
    assert kept[0]["facts"]["reason_code"] == "known_hypertension"
    assert await chair.mongo.plumbing("audit").find({"action": "session.limits"})


async def test_an_empty_set_is_the_protocols_again(chair: Chair) -> None:
    await limited(chair, ("sbp_critical_high", 200))
    await limited(chair)
    await chair.lasts(192, 8)
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1


@pytest.mark.parametrize(
    ("rule", "bound", "code"),
    [
        ("no_such_rule", 100, "rule_unknown"),
        ("spo2_collapse", 20, "rule_fixed"),
        ("sbp_critical_high", 350, "out_of_range"),
        ("sbp_critical_high", 95, "crosses"),
        ("moaas_critical", 0, "rule_fixed"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused_and_changes_nothing(
    chair: Chair, rule: str, bound: float, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await limited(chair, (rule, bound))
    assert [error.code for error in refused.value.errors] == [code]
    assert not (await chair.mongo.plumbing("sessions").find({"_id": chair.session_id}))[0].get("own_limits")


async def suppressed(chair: Chair, alarm_id: str, for_minutes: int) -> Document:
    body = schemas.Suppression(minutes=for_minutes, reason_code="being_treated")
    row: Document = await chair._run(lambda unit: answering.suppress(unit, chair.deps, alarm_id, body))
    return row


async def test_a_suppressed_rule_is_quiet_and_tells_what_outlasts_it(chair: Chair) -> None:
    await chair.lasts(165, 16)
    alarm = (await chair.alarms(rule="sbp_warning_high"))[0]
    row = await suppressed(chair, alarm["_id"], 10)
    assert (row["suppressed_by"], row["suppressed_reason"]) == ("nurse-1", "being_treated")
    assert row["acknowledged_by"] == "nurse-1"
    await chair.measures(120)
    chair.clock.advance(1)
    await chair.lasts(165, 20)
    assert len(await chair.alarms(rule="sbp_warning_high")) == 1
    await chair.measures(165, device="manual")
    await chair.ticks(600)
    assert len(await chair.alarms(rule="sbp_warning_high", open=True)) == 1
    assert len(await chair.alarms(rule="sbp_warning_high")) == 2


async def test_a_collapse_is_never_suppressed_and_high_priority_not_for_long(chair: Chair) -> None:
    await chair.measures(0, SPO2)
    await chair.lasts(192, 6)
    collapse = (await chair.alarms(rule="spo2_collapse"))[0]
    with pytest.raises(Conflict) as refused:
        await suppressed(chair, collapse["_id"], 1)
    assert refused.value.reasons[0]["code"] == "not_suppressible"
    high = (await chair.alarms(rule="sbp_critical_high"))[0]
    with pytest.raises(Conflict) as longer:
        await suppressed(chair, high["_id"], 4)
    assert longer.value.reasons[0]["code"] == "too_long"
    assert (await chair.alarms(rule="sbp_critical_high"))[0].get("suppressed_until") is None


async def observes(chair: Chair, score: int, code: Any = "moaas") -> str:
    async def work(unit: UnitOfWork) -> str:
        body = schemas_entries.Observation(observation_code=code, score=score)
        entry = await entries.add(unit, chair.deps, chair.session_id, "observation", body)
        await scoring.noted(unit, chair.deps, entry)
        return str(entry["_id"])

    entry_id: str = await chair._run(work)
    return entry_id


async def test_expected_sedation_while_dosing_is_on_the_board_and_pages_nobody(chair: Chair) -> None:
    await observes(chair, 3)
    assert [(row["rule"], row["pages"]) for row in await chair.alarms()] == [("moaas_expected", False)]
    assert await chair.told() == []


async def test_the_same_sedation_in_recovery_pages_and_the_expected_one_is_over(chair: Chair) -> None:
    await observes(chair, 3)
    await chair.aborts()
    await observes(chair, 3)
    await chair.ticks()
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["moaas_warning"]
    assert (await chair.told())[0] == "VitalsAbnormal"


async def test_deep_sedation_pages_in_every_phase(chair: Chair) -> None:
    await observes(chair, 2)
    assert "moaas_critical" in [row["rule"] for row in await chair.alarms(priority="high")]


async def notes_symptoms(chair: Chair, *present: str, at: datetime | None = None) -> None:
    items = {name: int(name in present) for name in SYMPTOMS}

    async def work(unit: UnitOfWork) -> None:
        body = schemas_entries.Observation(observation_code="symptoms", items=items, occurred_at=at)
        await scoring.noted(
            unit, chair.deps, await entries.add(unit, chair.deps, chair.session_id, "observation", body)
        )

    await chair._run(work)


@pytest.mark.parametrize("symptom", SYMPTOMS)
async def test_any_neurological_or_cardiac_symptom_is_critical_until_it_is_gone_clinical_md_3_3(
    chair: Chair, symptom: str
) -> None:
    await notes_symptoms(chair)
    assert await chair.alarms() == []
    await notes_symptoms(chair, symptom)
    (alarm,) = await chair.alarms()
    assert (alarm["rule"], alarm["priority"], alarm["pages"]) == ("symptom_critical", "high", True)
    assert await chair.told() == ["VitalsAbnormal"]
    await chair.acknowledges(alarm["_id"])
    chair.clock.advance(1)
    await notes_symptoms(chair)
    assert await chair.alarms(open=True) == []


async def test_a_symptom_that_is_written_down_after_it_was_over_is_told(chair: Chair) -> None:
    seizure_at = chair.clock.clinical_now()
    chair.clock.advance(20)
    await notes_symptoms(chair)
    chair.clock.advance(10)
    await notes_symptoms(chair, "seizure", at=seizure_at)
    (alarm,) = await chair.alarms(rule="symptom_critical")
    assert alarm["open"]
    await chair.acknowledges(alarm["_id"])
    assert await chair.alarms(rule="symptom_critical", open=True) == []


async def test_of_two_notes_of_one_moment_the_later_counts(chair: Chair) -> None:
    moment = chair.clock.clinical_now()
    await notes_symptoms(chair, "seizure", at=moment)
    (alarm,) = await chair.alarms(rule="symptom_critical")
    await chair.acknowledges(alarm["_id"])
    await notes_symptoms(chair, at=moment)
    assert await chair.alarms(rule="symptom_critical", open=True) == []


@pytest.mark.parametrize(
    "right", [{"observation": {"observation_code": "moaas", "score": 5}}, {"entered_in_error": True}]
)
async def test_a_sedation_that_was_written_down_wrongly_alarms_no_more(chair: Chair, right: dict[str, Any]) -> None:
    wrong = await observes(chair, 1)
    chair.clock.advance(30)
    body = schemas_entries.Correction.model_validate({"reason_code": "typing_error", **right})
    await chair._run(lambda unit: correcting_entries.correct(unit, chair.deps, chair.session_id, wrong, body))
    assert await chair.alarms(open=True) == []


async def test_two_warnings_at_once_are_one_critical_finding(chair: Chair) -> None:
    await chair.measures(93, SPO2)
    await chair.measures(9, RR)
    found = await chair.alarms(rule="respiratory_depression")
    assert [(row["priority"], row["value"], row["open"]) for row in found] == [("high", 2, True)]
    await chair.acknowledges(found[0]["_id"])
    chair.clock.advance(1)
    await chair.measures(14, RR)
    assert [row["open"] for row in await chair.alarms(rule="respiratory_depression")] == [False]


async def test_two_warnings_by_a_wrong_clock_are_one_critical_finding(chair: Chair) -> None:
    """Each sign in a request of its own, as a monitor without a gateway sends them."""

    async def measures(oxygen: float, breaths: float) -> None:
        taken_at = chair.clock.clinical_now() - timedelta(seconds=90)
        await chair.measures(oxygen, SPO2, at=taken_at)
        await chair.measures(breaths, RR, at=taken_at)
        chair.clock.advance(1)

    for _ in range(15):
        await measures(97, 14)
    assert len(await chair.alarms(rule="clock:m1", open=True)) == 1
    for _ in range(2):
        await measures(93, 9)
    assert len(await chair.alarms(rule="respiratory_depression", priority="high")) == 1


async def test_a_falling_saturation_in_a_sedated_patient_is_critical(chair: Chair) -> None:
    await observes(chair, 3)
    await chair.measures(93, SPO2)
    assert len(await chair.alarms(rule="sedated_and_desaturating", priority="high")) == 1


async def test_one_warning_alone_is_no_combination(chair: Chair) -> None:
    await chair.measures(93, SPO2)
    chair.clock.advance(61)
    await chair.measures(9, RR)
    assert await chair.alarms(rule="respiratory_depression") == []


async def test_who_answered_an_alarm_and_how_long_it_took(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm = (await chair.alarms(rule="sbp_critical_high"))[0]
    raised_at: datetime = alarm["raised_at"]
    await chair.acknowledges(alarm["_id"])
    chair.clock.advance(20)
    await chair._run(lambda unit: answering.attend(unit, chair.deps, alarm["_id"], "nurse"))
    row = (await chair.alarms(rule="sbp_critical_high"))[0]
    assert (row["acknowledged_by"], row["attended_by"]) == ("nurse-1", "nurse-1")
    assert row["seconds_to_acknowledge"] == (row["acknowledged_at"] - raised_at).total_seconds()
    assert row["seconds_to_attend"] == row["seconds_to_acknowledge"] + 20


async def test_silence_mutes_for_two_minutes_and_changes_no_paging(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm, told = (await chair.alarms(rule="sbp_critical_high"))[0], await chair.told()
    row: Document = await chair._run(lambda unit: answering.silence(unit, alarm["_id"], schemas.Mute()))
    assert row["silenced_until"] - chair.clock.clinical_now() == minutes(2)
    assert row.get("acknowledged_at") is None
    assert await chair.told() == told


async def scored(chair: Chair) -> list[Any]:
    found = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "news2"})
    return [(row["facts"]["total"], row["facts"]["risk"]) for row in found]


async def test_news2_is_an_extra_on_the_timeline_and_no_alarm(chair: Chair) -> None:
    await chair.sends(
        chair.reading(120),
        chair.reading(70, "8867-4"),
        chair.reading(98, SPO2),
        chair.reading(14, RR),
        chair.reading(35.5, "8310-5"),
    )
    await observes(chair, 5)
    assert await scored(chair) == [(1, "low")]
    assert await chair.told() == []


async def test_news2_knows_the_scale_of_the_baseline_and_oxygen_that_was_none(chair: Chair) -> None:
    """88 % is what is aimed at where carbon dioxide is retained; an entry that was an error gave no oxygen."""
    scale = {"$set": {"baseline.spo2_scale": 2}}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, scale)

    async def gives(unit: UnitOfWork) -> None:
        body = schemas_entries.Intervention(intervention_code="oxygen")
        entry = await entries.add(unit, chair.deps, chair.session_id, "intervention", body)
        never = schemas_entries.Correction(reason_code="wrong_patient", entered_in_error=True)
        await correcting_entries.correct(unit, chair.deps, chair.session_id, entry["_id"], never)

    await chair._run(gives)
    calm = ((120, "8480-6"), (70, "8867-4"), (88, SPO2), (14, RR), (37, "8310-5"))
    await chair.sends(*(chair.reading(value, sign) for value, sign in calm))
    await observes(chair, 5)
    assert await scored(chair) == [(0, "low")]


async def test_a_missing_parameter_makes_no_news2(chair: Chair) -> None:
    await chair.sends(chair.reading(120), chair.reading(70, "8867-4"), chair.reading(98, SPO2), chair.reading(14, RR))
    await observes(chair, 5)
    assert await scored(chair) == []


PRESSURE_AT_40 = Measurement(
    name="pressure", signs=(SYSTOLIC,), phase="dosing", since="first_dose", at_minutes=(40,), grace_minutes=5
)


@pytest.fixture
def scheduled(chair: Chair, monkeypatch: pytest.MonkeyPatch) -> Chair:
    """The chair with "blood pressure due at 40 minutes"."""
    for version, protocol in list(chair.deps.protocols.items()):
        changed = protocol.model_copy(update={"schedule": (PRESSURE_AT_40,)})
        monkeypatch.setitem(cast("dict[str, SessionProtocol]", chair.deps.protocols), version, changed)
    return chair


async def fires(chair: Chair, after_minutes: float) -> None:
    await chair.ticks()
    chair.clock.advance(after_minutes * 60)
    await TimerRunner(chair.mongo, SCHEDULE_TIMERS, chair.deps, "monitoring").fire_due()


async def test_a_measurement_that_was_missed_is_a_technical_alarm_and_making_up_for_it_ends_it(
    scheduled: Chair,
) -> None:
    chair = scheduled
    await fires(chair, 44)
    assert await chair.alarms() == []
    await fires(chair, 2)
    found = await chair.alarms(rule="missed:pressure")
    assert [(row["category"], row["priority"], row["open"]) for row in found] == [("technical", "medium", True)]
    await chair.measures(121, device="manual")
    await fires(chair, 2)
    assert [row["open"] for row in await chair.alarms(rule="missed:pressure")] == [False]
    assert await chair.told() == ["VitalsAbnormal", "AlarmCleared"]


async def test_a_measurement_in_time_raises_nothing(scheduled: Chair) -> None:
    chair = scheduled
    await fires(chair, 39)
    await chair.measures(121, device="manual")
    await fires(chair, 7)
    assert await chair.alarms() == []


async def test_who_left_is_not_measured_any_more(scheduled: Chair) -> None:
    chair = scheduled
    await chair.ticks()
    await chair.leaves()
    await fires(chair, 60)
    assert await chair.alarms() == []


async def test_what_is_due_next_is_noted_with_the_session(scheduled: Chair) -> None:
    await scheduled.ticks()
    session = (await scheduled.mongo.plumbing("sessions").find({"_id": scheduled.session_id}))[0]
    assert session["due"]["pressure"] == session["doses"][0]["at"] + minutes(40)


async def test_code_from_before_there_were_tracks_and_this_one_share_an_engine(chair: Chair) -> None:
    await chair.lasts(192, 3)
    await chair.mongo.plumbing("engines").update({"_id": chair.session_id}, {"$unset": {"tracks": ""}})
    await chair.lasts(192, 6)
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1
