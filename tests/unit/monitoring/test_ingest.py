"""Micro-batches and when they close (ADR 7), with a store that commits when the test says so."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.monitoring import ingest as ingest_module
from services.monitoring.ingest import AT_MOST, BATCH_READINGS, ENOUGH, WAITING, WAITING_OF_ONE, Ingest, parts
from services.monitoring.recent import Recent
from services.monitoring.schemas import Reading
from services.monitoring.usecases.readings import Answers, Delivery
from services.monitoring.vitals import Outcome
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.persistence.scope import Actor, Scope
from tests.support.eventually import a_turn

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
CALM, ABNORMAL = 97, 60
STORED = Outcome(id="-", result="stored")
BEING_COMMITTED = 1 + 1 + (AT_MOST - 2) * BATCH_READINGS


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer of calm readings is a second: what is begun at once was begun without it, on a slow machine too."""
    monkeypatch.setattr(ingest_module, "BATCH_SECONDS", 1)


class Held(Ingest):
    """`begun`: how many readings each batch had, in the order in which they were begun."""

    def __init__(self) -> None:
        mongo, memory = SimpleNamespace(clock=ManualClock(NOW)), SimpleNamespace(evaluated=lambda _: None)
        super().__init__(cast("Any", mongo), cast("Any", None), cast("Any", memory))
        self.begun = list[int]()
        self.commits = asyncio.Event()
        self._sent = list[asyncio.Task[Any]]()

    async def _run(self, deliveries: Sequence[Delivery]) -> tuple[Answers, Recent]:
        self.begun.append(sum(len(delivery.readings) for delivery in deliveries))
        await self.commits.wait()
        return [[STORED for _ in delivery.readings] for delivery in deliveries], Recent()

    def _abnormal(self, delivery: Delivery, reading: Reading) -> bool:  # noqa: ARG002 - as the real one is asked
        return reading.value != CALM

    async def arrive(
        self, requests: int, readings: int = 1, device: str | None = None, value: float = ABNORMAL
    ) -> None:
        """Each from a device of its own, or all from one; returns when whatever does not wait for a timer has begun."""
        for _ in range(requests):
            sent = delivery(device or f"m{len(self._sent)}", readings, value)
            self._sent.append(asyncio.create_task(self.deliver(sent)))
        for _ in range(5):
            await a_turn()

    def refused(self) -> list[BaseException]:
        """What those were told who do not wait; they are forgotten."""
        over = [sent for sent in self._sent if sent.done() and sent.exception()]
        self._sent = [sent for sent in self._sent if sent not in over]
        return [error for sent in over if (error := sent.exception())]

    async def ends(self) -> int:
        """How many readings were answered."""
        self.commits.set()
        return sum(len(results) for results in await asyncio.wait_for(asyncio.gather(*self._sent), 5))


def delivery(device: str, readings: int, value: float) -> Delivery:
    one = Reading(sign="59408-5", value=value, unit="%", taken_at=NOW, device=device)
    return Delivery(Scope("clinic-1", Actor("gateway", "device")), None, [one] * readings)


def measured(sign: str, second: float) -> Reading:
    units = {"8480-6": "mm[Hg]", "8462-4": "mm[Hg]", "59408-5": "%"}
    taken_at = NOW + timedelta(seconds=second)
    return Reading(sign=sign, value=CALM, unit=units[sign], taken_at=taken_at, device="m1")


async def test_a_value_that_may_be_an_alarm_does_not_wait_for_company() -> None:
    ingest = Held()
    await ingest.arrive(1)
    assert ingest.begun == [1]
    assert await ingest.ends() == 1


async def test_calm_values_wait_for_company_and_no_longer_than_their_time() -> None:
    ingest = Held()
    await ingest.arrive(1, value=CALM)
    await ingest.arrive(1, value=CALM)
    assert ingest.begun == []
    assert await ingest.ends() == 2
    assert ingest.begun == [2]


@pytest.mark.usefixtures("unhurried")
async def test_calm_values_leave_with_the_first_that_may_be_an_alarm() -> None:
    ingest = Held()
    await ingest.arrive(3, value=CALM)
    await ingest.arrive(1)
    assert ingest.begun == [4]
    await ingest.arrive(1, value=CALM)
    assert ingest.begun == [4], "the next batch is open again"
    assert await ingest.ends() == 5
    assert ingest.begun == [4, 1]


@pytest.mark.usefixtures("unhurried")
async def test_calm_values_that_are_enough_wait_for_nobody() -> None:
    ingest = Held()
    await ingest.arrive(ENOUGH - 1, value=CALM)
    assert ingest.begun == []
    await ingest.arrive(1, value=CALM)
    assert ingest.begun == [ENOUGH]
    assert await ingest.ends() == ENOUGH


async def test_what_arrives_while_two_batches_are_committed_is_the_next_one() -> None:
    ingest = Held()
    await ingest.arrive(1)
    await ingest.arrive(1)
    await ingest.arrive(199)
    assert ingest.begun == [1, 1], "a third would only be smaller"
    assert await ingest.ends() == 201
    assert ingest.begun == [1, 1, 199]


async def test_where_a_full_batch_waits_four_are_committed_at_a_time() -> None:
    ingest = Held()
    await ingest.arrive(1)
    await ingest.arrive(1)
    await ingest.arrive(650)
    assert ingest.begun == [1, 1, 200, 200]
    assert await ingest.ends() == 652
    assert ingest.begun == [1, 1, 200, 200, 200, 50]


async def test_a_long_request_is_committed_in_parts_of_200_one_after_the_other() -> None:
    ingest = Held()
    await ingest.arrive(1, readings=450)
    assert ingest.begun == [200]
    assert await ingest.ends() == 450
    assert ingest.begun == [200, 200, 50]


@pytest.mark.parametrize("by_sign", [False, True], ids=["side by side", "one sign after the other"])
def test_the_two_pressures_of_a_moment_are_committed_together(by_sign: bool) -> None:
    alone = [measured("59408-5", second) for second in range(-199, 0)]
    pairs = [measured(sign, second) for sign in ("8480-6", "8462-4") for second in range(150)]
    readings = alone + (pairs if by_sign else sorted(pairs, key=lambda one: one.taken_at))
    for places in parts(readings):
        moments = [readings[place].taken_at for place in places if readings[place].sign != "59408-5"]
        assert all(moments.count(moment) == 2 for moment in moments)
    assert sorted(place for places in parts(readings) for place in places) == list(range(len(readings)))


async def test_where_too_many_wait_the_next_is_told_to_send_again_and_of_those_that_wait_none_is_lost() -> None:
    ingest = Held()
    await ingest.arrive(BEING_COMMITTED + WAITING)
    assert ingest.refused() == []
    await ingest.arrive(1)
    (told,) = ingest.refused()
    assert isinstance(told, Unavailable)
    assert (told.status, told.headers) == (503, {"Retry-After": "1"})
    assert await ingest.ends() == BEING_COMMITTED + WAITING
    await ingest.arrive(1)
    assert await ingest.ends() == BEING_COMMITTED + WAITING + 1, "there is room again"


async def test_a_device_that_is_slow_to_be_served_leaves_room_for_the_others() -> None:
    ingest = Held()
    await ingest.arrive(BEING_COMMITTED + WAITING_OF_ONE, device="slow")
    assert ingest.refused() == []
    await ingest.arrive(1, device="slow")
    await ingest.arrive(1)
    assert [type(told) for told in ingest.refused()] == [Unavailable]
    assert await ingest.ends() == BEING_COMMITTED + WAITING_OF_ONE + 1
