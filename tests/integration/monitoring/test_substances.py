"""The log of controlled substances: who gave a dose, who wrote it down, what was really given (21 CFR 1304.22(c))."""

import csv
import io
from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring import schemas_session as bodies_of_session
from services.monitoring.usecases import correcting_entries, dosing, ending, substances
from shared.errors import Invalid
from shared.events.monitoring import SessionCompleted
from shared.ids import new_id
from shared.persistence.mongo import Document
from shared.persistence.scope import Actor, Scope
from tests.integration.monitoring.world import CLINIC, PRESCRIBER, Chair, minutes

NURSE_2 = Scope(CLINIC, Actor("nurse-2", "nurse"))
CLINICIAN = Scope(CLINIC, Actor("clinician-9", "clinician"))
OTHER_LOT = bodies.DoseCorrection(lot="M")


async def logged(chair: Chair, *columns: str) -> list[tuple[str, ...]]:
    """The lines of the day in the order of recording."""
    text: str = await chair._run(lambda unit: substances.log_of(unit, None))
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: (row["recorded_at"], row["entry_id"]))
    return [tuple(row[name] for name in columns) for row in rows]


async def moves(chair: Chair, entry_id: str, scope: Scope = NURSE_2) -> Document:
    """To a session of another patient, which is the chair's from then on."""
    wrong, chair.patient_id = chair.session_id, new_id()
    await chair.seat(dose=False)
    to = bodies.MoveEntry(to_session_id=chair.session_id, reason_code="wrong_patient")
    moved: Document = await chair._run(
        lambda unit: correcting_entries.move(unit, chair.deps, wrong, entry_id, to), scope
    )
    return moved


async def corrects(chair: Chair, entry_id: str, **part: Any) -> Document:
    body = bodies.Correction(reason_code="typing", **part)
    session = chair.session_id
    made: Document = await chair._run(
        lambda unit: correcting_entries.correct(unit, chair.deps, session, entry_id, body), CLINICIAN
    )
    return made


async def stops(chair: Chair, seconds: float = 600, **body: Any) -> None:
    """So long after what was before."""
    chair.clock.advance(seconds)
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, "stop", schemas.Infusion(**body)))


async def dose_of(chair: Chair) -> Document:
    """The newest of the chair's session."""
    query = {"session_id": chair.session_id, "kind": "dose"}
    rows = await chair.mongo.plumbing("entries").find(query, sort=[("_id", -1)], limit=1)
    return rows[0]


async def test_whoever_moves_or_corrects_a_dose_did_not_give_it(chair: Chair) -> None:
    given = await dose_of(chair)
    moved = await moves(chair, given["_id"])
    chair.clock.advance(60)
    corrected = await corrects(chair, moved["_id"], dose=OTHER_LOT)
    told = ("entry_id", "lot", "by", "recorded_by", "status", "corrects")
    assert await logged(chair, *told) == [
        (given["_id"], "L", "doctor-1", "doctor-1", "moved", ""),
        (moved["_id"], "L", "doctor-1", "nurse-2", "corrected", given["_id"]),
        (corrected["_id"], "M", "doctor-1", "clinician-9", "counts", moved["_id"]),
    ]


async def test_a_dose_that_is_moved_twice_is_still_of_who_gave_it(chair: Chair) -> None:
    once = await moves(chair, (await dose_of(chair))["_id"])
    chair.clock.advance(60)
    twice = await moves(chair, once["_id"])
    assert (await chair.session())["doses"][0]["by"] == PRESCRIBER.actor.id
    assert (await logged(chair, "by", "recorded_by", "corrects"))[-1] == ("doctor-1", "nurse-2", once["_id"])
    assert twice["facts"]["given_by"] == PRESCRIBER.actor.id


async def test_who_gave_a_dose_that_was_moved_before_the_entry_said_so_is_known_from_where_it_came(
    chair: Chair,
) -> None:
    moved = await moves(chair, (await dose_of(chair))["_id"])
    await chair.mongo.plumbing("entries").update({"_id": moved["_id"]}, {"$unset": {"facts.given_by": ""}})
    assert (await logged(chair, "by", "recorded_by"))[-1] == ("doctor-1", "nurse-2")
    chair.clock.advance(60)
    made = await corrects(chair, moved["_id"], dose=OTHER_LOT)
    assert made["facts"]["now"]["given_by"] == PRESCRIBER.actor.id
    assert (await logged(chair, "by", "recorded_by"))[-1] == ("doctor-1", "clinician-9")


async def test_whoever_corrects_waste_did_not_waste_it(chair: Chair) -> None:
    body = bodies_of_session.Waste(medication="ketamine", amount_mg=15, lot="L", witness="nurse-2")
    wasted = await chair._run(lambda unit: substances.waste(unit, chair.session_id, body))
    await corrects(chair, wasted["_id"], waste=bodies.WasteCorrection(amount_mg=5))
    lines = {row[:3]: row[3:] for row in await logged(chair, "kind", "amount_mg", "status", "by", "recorded_by")}
    assert lines["waste", "15.0", "corrected"] == ("nurse-1", "nurse-1")
    assert lines["waste", "5.0", "counts"] == ("nurse-1", "clinician-9")


async def test_whoever_wasted_it_is_no_witness_of_it_after_a_correction_either(chair: Chair) -> None:
    body = bodies_of_session.Waste(medication="ketamine", amount_mg=15, lot="L", witness="nurse-2")
    wasted = await chair._run(lambda unit: substances.waste(unit, chair.session_id, body))
    with pytest.raises(Invalid) as invalid:
        await corrects(chair, wasted["_id"], waste=bodies.WasteCorrection(witness="nurse-1"))
    assert [error.code for error in invalid.value.errors] == ["witness_is_author"]


async def test_the_log_tells_what_was_really_given_where_the_stop_told_it(chair: Chair) -> None:
    await stops(chair, given_mg=20)
    told = ("amount_mg", "given_mg", "status")
    assert await logged(chair, *told) == [("35.0", "20.0", "counts")]
    await moves(chair, (await dose_of(chair))["_id"])
    assert await logged(chair, *told) == [("35.0", "20.0", "moved"), ("35.0", "20.0", "counts")]


async def test_a_stop_tells_of_the_newest_dose_of_then_alone(chair: Chair) -> None:
    await stops(chair, given_mg=20)
    chair.clock.advance(600)
    await chair.doses(amount_mg=10)
    told = ("amount_mg", "given_mg")
    assert await logged(chair, *told) == [("35.0", "20.0"), ("10.0", "")]
    await stops(chair, given_mg=4)
    assert await logged(chair, *told) == [("35.0", "20.0"), ("10.0", "4.0")]


async def test_which_dose_a_stop_tells_of_goes_by_the_times_as_they_are_known_now(chair: Chair) -> None:
    first = await dose_of(chair)
    chair.clock.advance(600)
    await chair.doses(amount_mg=10)
    await stops(chair, given_mg=4)
    assert await logged(chair, "amount_mg", "given_mg") == [("35.0", ""), ("10.0", "4.0")]
    await corrects(chair, (await dose_of(chair))["_id"], occurred_at=first["occurred_at"] - minutes(1))
    assert await logged(chair, "amount_mg", "given_mg", "status") == [
        ("35.0", "4.0", "counts"),
        ("10.0", "", "corrected"),
        ("10.0", "", "counts"),
    ]


@pytest.mark.parametrize(("again", "given"), [({}, ""), ({"given_mg": 30}, "30.0")])
async def test_after_a_later_stop_what_the_wrong_one_told_is_not_what_was_given(
    chair: Chair, again: dict[str, Any], given: str
) -> None:
    await stops(chair, given_mg=5)
    await stops(chair, 35 * 60, **again)
    assert await logged(chair, "amount_mg", "given_mg") == [("35.0", given)]


async def test_a_stop_said_again_leaves_what_the_first_told(chair: Chair) -> None:
    await stops(chair, given_mg=20)
    await stops(chair, 10)
    assert await logged(chair, "amount_mg", "given_mg") == [("35.0", "20.0")]


@pytest.mark.parametrize(("told", "total"), [({"given_mg": 20}, 20), ({}, 35)])
async def test_a_session_tells_of_the_dose_what_had_run_in(chair: Chair, told: dict[str, Any], total: float) -> None:
    await stops(chair, **told)
    await chair.leaves("transferred")
    await chair._run(lambda unit: ending.complete(unit, chair.session_id))
    assert [event.dose_total_mg for event in await chair.events(SessionCompleted)] == [total]
