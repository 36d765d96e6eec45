"""The instrument against a way of readings that is broken on purpose: each must be caught."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from services.monitoring.ingest import Ingest
from services.monitoring.store import INDEXES
from services.monitoring.usecases import readings as use_case
from services.monitoring.usecases.readings import Delivery, Results, _Batch
from services.monitoring.vitals import Outcome
from shared.clock import ManualClock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.faults.alarms import check_alarms
from tests.faults.history import History, Reading
from tests.faults.reference import PULSE
from tests.faults.vitals import check_vitals
from tests.integration.faults.test_engine_mutants import EMPTY
from tests.integration.messaging.world import AT
from tests.integration.monitoring.world import Chair

OURS = {"reading_once", "reading_sent", "reading_as_sent", "reading_answered", "one_alarm", "alarm_has_breach"}
AGAIN = 8


async def acknowledged(_: Ingest, delivery: Delivery) -> Results:
    """Broken: the answer leaves before the commit, and the process dies between the two."""
    return [Outcome("-", "stored") for _ in delivery.readings]


def by_chance(*_: Any) -> str:
    """Broken: the same reading has another id each time, so nobody knows it again."""
    return uuid4().hex


async def judged_again(batch: _Batch, unit: Any, session: Any, reading: Any, pressures: Any) -> Outcome:
    """Broken: a duplicate is judged as if it had been measured when it arrived."""
    outcome = await ONE(batch, unit, session, reading, pressures)
    if outcome.result == "duplicate":
        arrived = reading.model_copy(update={"taken_at": batch._now})
        await batch._judge(unit, session, arrived, "now", stored=None, reason=None)
    return outcome


ONE = _Batch._one


class Bed:
    """A gateway whose answers are lost: what it sent it sends again."""

    def __init__(self, chair: Chair) -> None:
        self.chair, self.history = chair, History()

    def measures(self, value: float) -> Reading:
        at = self._now()
        made = Reading("R", self.chair.session_id, PULSE, value, at, device="m1", sent_at=at)
        self.history.readings.append(made)
        return made

    async def sends(self, sent: Sequence[Reading], took_s: float = 0) -> None:
        given = [self.chair.reading(row.value, PULSE, at=AT.fromtimestamp(row.taken_at, AT.tzinfo)) for row in sent]
        for reading, outcome in zip(sent, await self.chair.sends(*given), strict=True):
            reading.answers.append(outcome.result)
            reading.acknowledged_at = reading.acknowledged_at or self._now()
        self.chair.clock.advance(took_s)

    def _now(self) -> float:
        return self.chair.clock.clinical_now().timestamp()

    async def red(self) -> set[str]:
        rows = await self.chair.mongo.plumbing("vitals").find({"device": {"$ne": "manual"}})  # without the baseline
        seen = replace(EMPTY, alarms=await self.chair.alarms(), vitals=rows)
        found = [*check_vitals(self.history, seen), *check_alarms(self.history, seen)]
        return {violation.check for violation in found} & OURS


async def played(mongo: Mongo) -> set[str]:
    """A dip between normal values, and the dip again for longer than a delay."""
    await mongo.build_indexes(PLUMBING_INDEXES | INDEXES)
    mongo.clock = clock = ManualClock(AT)
    bed = Bed(await Chair(mongo, clock).seat(dose=False))
    await bed.sends([bed.measures(70)], took_s=1)
    dip = bed.measures(38)
    await bed.sends([dip], took_s=1)
    await bed.sends([bed.measures(70)], took_s=1)
    for _ in range(AGAIN):
        await bed.sends([dip], took_s=1)
    return await bed.red()


async def test_the_healthy_way_is_green(mongo: Mongo) -> None:
    assert await played(mongo) == set()


async def test_an_acknowledgement_before_the_commit_is_caught(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ingest, "deliver", acknowledged)
    assert "reading_once" in await played(mongo)


async def test_a_reading_that_is_not_known_again_is_caught(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_case, "reading_id", by_chance)
    assert {"reading_once", "reading_answered"} <= await played(mongo)


async def test_a_duplicate_that_is_judged_again_is_caught(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Batch, "_one", judged_again)
    assert "alarm_has_breach" in await played(mongo)
