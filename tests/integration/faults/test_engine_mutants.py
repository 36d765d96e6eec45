"""The reference model against the engine: they agree, and an engine that is broken on purpose is caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.monitoring import alarms
from services.monitoring.limits import Limit
from services.monitoring.store import INDEXES
from services.monitoring.usecases import judging as use_case
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.faults.alarms import check_alarms
from tests.faults.gateway import COURSES, NORMAL
from tests.faults.history import History, Observed, Reading
from tests.integration.messaging.world import AT
from tests.integration.monitoring.world import Chair

Engine = Callable[..., Any]
EMPTY = Observed(**{name: [] for name in Observed.__dataclass_fields__})


def deaf(states: Any, *_: Any) -> Any:
    """Broken: it raises nothing."""
    return dict(states), []


def forgetful(_: Any, *rest: Any) -> Any:
    """Broken: each reading begins an episode of its own."""
    return alarms.evaluate({}, *rest)


def hasty(states: Any, sign: str, value: float, at: Any, limits: list[Limit], *rest: Any) -> Any:
    """Broken: it waits for no delay."""
    at_once = [replace(limit, rule=limit.rule.model_copy(update={"delay_s": 0})) for limit in limits]
    return alarms.evaluate(states, sign, value, at, at_once, *rest)


async def played(mongo: Mongo) -> set[str]:
    """Every course of the traffic at a chair of its own; returns the names of the checks that are red."""
    await mongo.build_indexes(PLUMBING_INDEXES | INDEXES)
    history, found = History(), list[dict[str, Any]]()
    for sign, values in COURSES:
        clock = ManualClock(AT)
        mongo.clock = clock
        chair = await Chair(mongo, clock).seat(dose=False)
        for value in (*values, NORMAL[sign]):
            now = clock.clinical_now().timestamp()
            await chair.measures(value, sign)
            history.readings.append(Reading("R", chair.session_id, sign, value, now, now))
            clock.advance(1)
        found += await chair.alarms()
    red = {violation.check for violation in check_alarms(history, replace(EMPTY, alarms=found))}
    return red & {"one_alarm", "one_of_both", "alarm_has_breach"}


async def test_the_engine_agrees_with_the_reference_model(mongo: Mongo) -> None:
    assert await played(mongo) == set()


@pytest.mark.parametrize(("broken", "red"), [(deaf, "one_alarm"), (hasty, "alarm_has_breach")])
async def test_a_broken_engine_is_caught(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch, broken: Engine, red: str
) -> None:
    monkeypatch.setattr(use_case, "evaluate", broken)
    assert red in await played(mongo)


async def test_an_engine_that_forgets_an_open_alarm_is_stopped_by_the_store(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "evaluate", forgetful)
    with pytest.raises(Unavailable):
        await played(mongo)
