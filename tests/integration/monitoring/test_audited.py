"""What the audit says of readings: a machine once per device and session, a hand each time, each by its own caller."""

import asyncio
from datetime import timedelta

from services.monitoring.usecases.readings import Delivery
from shared.persistence.scope import Actor, Scope
from tests.integration.monitoring.world import CLINIC, Chair

GATEWAYS = [Scope(CLINIC, Actor(f"gateway-{number}", "device")) for number in range(8)]


async def taken(chair: Chair) -> list[str]:
    """Who brought readings of this session, in order."""
    query = {"action": "vitals.take", "subject": f"session/{chair.session_id}", "patient_id": chair.patient_id}
    return [row["actor"] for row in await chair.mongo.plumbing("audit").find(query)]


async def test_a_machine_is_audited_once_per_device_and_session(chair: Chair) -> None:
    before = await taken(chair)
    for device in ("m1", "m2", "m1", "m2"):
        chair.clock.advance(1)
        await chair.sends(chair.reading(120, device=device), chair.reading(70, "8867-4", device=device))
    assert len(await taken(chair)) - len(before) == 2
    second = await Chair(chair.mongo, chair.clock).seat()
    known = len(await taken(second))
    await second.measures(120, device="m1")
    assert (len(await taken(second)) - known, len(await taken(chair)) - len(before)) == (1, 2)


async def test_readings_by_hand_are_audited_each_time(chair: Chair) -> None:
    before = await taken(chair)
    for _ in range(3):
        chair.clock.advance(60)
        await chair.measures(120, device="manual")
    assert await taken(chair) == [*before, *["nurse-1"] * 3]


async def test_of_readings_in_one_transaction_each_is_by_its_own_caller(chair: Chair) -> None:
    """While the first two are committed the others wait together."""
    before, at = await taken(chair), chair.clock.clinical_now() - timedelta(seconds=1)
    deliveries = [
        Delivery(scope, chair.session_id, [chair.reading(120, at=at, device=scope.actor.id)]) for scope in GATEWAYS
    ]
    await asyncio.gather(*(chair.ingest.deliver(delivery) for delivery in deliveries))
    assert sorted((await taken(chair))[len(before) :]) == [scope.actor.id for scope in GATEWAYS]
