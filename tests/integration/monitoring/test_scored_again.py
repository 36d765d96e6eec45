"""A score that is corrected or moved is judged again by itself: an alarm ends only when no score is left that broke its rule."""

from typing import Any

from services.monitoring import scales, schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases import answering, correcting_entries
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_occurred import notes, observes
from tests.integration.monitoring.world import Chair

SPO2 = "59408-5"


async def corrects(chair: Chair, entry: Document, **changed: Any) -> None:
    body = bodies.Correction.model_validate({"reason_code": "typing_error", **changed})
    await chair._run(lambda unit: correcting_entries.correct(unit, chair.deps, chair.session_id, entry["_id"], body))


async def moves(chair: Chair, entry: Document, other: Chair) -> None:
    body = bodies.MoveEntry(to_session_id=other.session_id, reason_code="wrong_patient")
    await chair._run(lambda unit: correcting_entries.move(unit, chair.deps, chair.session_id, entry["_id"], body))


async def rescores(chair: Chair, entry: Document, score: int, code: str = "moaas") -> None:
    await corrects(chair, entry, observation={"observation_code": code, "score": score})


async def recovered_from(chair: Chair, score: int) -> Document:
    """Sedated as deep as that, awake a minute later; nobody has accepted."""
    noted = await observes(chair, score)
    chair.clock.advance(60)
    await observes(chair, 5)
    chair.clock.advance(60)
    return noted


async def opened(chair: Chair, rule: str = "moaas_critical") -> list[bool]:
    return [alarm["open"] for alarm in await chair.alarms(rule=rule)]


async def test_a_correction_of_another_scale_leaves_what_nobody_accepted(chair: Chair) -> None:
    await recovered_from(chair, 1)
    pain = await notes(chair, "pain", score=3)
    await rescores(chair, pain, 4, "pain")
    assert (await opened(chair), await chair.told()) == ([True], ["VitalsAbnormal"])


async def test_a_corrected_symptom_leaves_the_alarm_of_the_sedation(chair: Chair) -> None:
    await recovered_from(chair, 1)
    symptoms = await notes(chair, "symptoms", items=dict.fromkeys(scales.SYMPTOMS, 1))
    assert await opened(chair, "symptom_critical") == [True]
    await corrects(chair, symptoms, entered_in_error=True)
    assert await opened(chair, "symptom_critical") == [False]
    assert await opened(chair) == [True]


async def test_a_corrected_score_of_the_same_scale_leaves_what_another_told(chair: Chair) -> None:
    await recovered_from(chair, 1)
    await rescores(chair, await observes(chair, 4), 5)
    assert await opened(chair) == [True]
    (alarm,) = await chair.alarms(rule="moaas_critical")
    await chair.acknowledges(alarm["_id"])
    assert await opened(chair) == [False], "accepted, and awake"


async def test_what_help_was_called_for_stands_though_its_rule_is_suppressed(chair: Chair) -> None:
    await observes(chair, 1)
    (alarm,) = await chair.alarms(rule="moaas_critical")
    body = schemas.Suppression(minutes=3, reason_code="known")
    await chair._run(lambda unit: answering.suppress(unit, chair.deps, alarm["_id"], body))
    await chair._run(lambda unit: answering.escalate(unit, alarm["_id"], "nurse"))
    chair.clock.advance(30)
    await observes(chair, 5)
    assert await opened(chair) == [True]
    await rescores(chair, await observes(chair, 4), 5)
    assert await opened(chair) == [True]


async def test_an_alarm_that_was_a_typing_error_is_over(chair: Chair) -> None:
    await rescores(chair, await recovered_from(chair, 1), 5)
    assert await opened(chair) == [False]


async def test_what_was_accepted_and_over_does_not_keep_the_alarm_of_a_later_error(chair: Chair) -> None:
    await recovered_from(chair, 1)
    (alarm,) = await chair.alarms(rule="moaas_critical")
    await chair.acknowledges(alarm["_id"])
    chair.clock.advance(300)
    wrong = await observes(chair, 1)
    await rescores(chair, wrong, 5)
    assert await opened(chair) == [False, False]


async def test_sedation_that_a_correction_told_stands_whatever_else_is_corrected(chair: Chair) -> None:
    wrong = await observes(chair, 5)
    chair.clock.advance(60)
    await rescores(chair, wrong, 1)
    chair.clock.advance(60)
    await rescores(chair, await observes(chair, 4), 5)
    assert await opened(chair) == [True]


async def test_two_findings_at_once_stand_while_the_score_of_then_counts(chair: Chair) -> None:
    sedated = await observes(chair, 3)
    await chair.measures(92, SPO2)
    rule = "sedated_and_desaturating"
    chair.clock.advance(60)
    awake = await observes(chair, 4)
    await rescores(chair, awake, 5)
    assert await opened(chair, rule) == [True]
    await rescores(chair, sedated, 5)
    assert await opened(chair, rule) == [False]


async def test_a_moved_score_of_another_scale_leaves_the_alarms_of_both_sessions(chair: Chair) -> None:
    other = await Chair(chair.mongo, chair.clock).seat()
    for one in (chair, other):
        await recovered_from(one, 1)
    pain = await notes(chair, "pain", score=3)
    await moves(chair, pain, other)
    assert (await opened(chair), await opened(other)) == ([True], [True])
