"""What a process says of itself: loops that died or hang, and what it can do without."""

import asyncio

import httpx
import pytest

from services.intake.wiring import SERVICE as INTAKE
from services.monitoring.wiring import SERVICE as MONITORING
from services.notifications.wiring import SERVICE as NOTIFICATIONS
from services.scheduling.wiring import SERVICE as SCHEDULING
from shared.clock import Clock, ManualClock
from shared.loops import LIVE_SECONDS, Loop, Loops
from shared.messaging import kafka
from shared.service import READY_SECONDS, Service
from shared.web.health import Readiness, health_app
from tests.support.eventually import eventually
from tests.unit.conftest import Processes
from tests.unit.test_clock import NOW

ALL = (INTAKE, SCHEDULING, MONITORING, NOTIFICATIONS)


class Turning:
    """Stamps each round, then waits for `go_on`; `fault` ends it."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.go_on = clock, asyncio.Event()
        self.last_attempt = clock.monotonic()
        self.rounds, self.over = 0, False
        self.fault: BaseException | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            self.rounds += 1
            if self.fault:
                raise self.fault
            await self.go_on.wait()
            self.go_on.clear()
        self.over = True

    async def turn(self) -> None:
        before = self.rounds
        self.go_on.set()

        async def turned() -> bool:
            return self.rounds > before

        await eventually(turned)


class World:
    """Two loops behind the health port."""

    def __init__(self) -> None:
        self.clock, self.stop = ManualClock(NOW), asyncio.Event()
        self.one, self.two = Turning(self.clock), Turning(self.clock)
        self.loops = Loops(self.clock, {"one": Loop.of(self.one), "two": Loop.of(self.two)})
        self.ready = Readiness({})
        self.app = health_app(self.loops.alive, lambda: self.ready)

    async def get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
            return await client.get(path)

    async def livez(self) -> tuple[int, dict[str, bool]]:
        answer = await self.get("/livez")
        return answer.status_code, answer.json()


@pytest.fixture
async def world() -> World:
    made = World()
    made.loops.start(made.stop)
    return made


async def test_a_loop_that_is_stuck_fails_liveness_and_names_itself(world: World) -> None:
    assert await world.livez() == (200, {"one": True, "two": True})
    world.clock.advance(LIVE_SECONDS - 1)
    await world.one.turn()
    assert await world.livez() == (200, {"one": True, "two": True})
    world.clock.advance(1)
    assert await world.livez() == (503, {"one": True, "two": False})


async def test_a_loop_that_is_gone_fails_liveness_at_once(world: World) -> None:
    world.two.fault = asyncio.CancelledError()
    await world.two.turn()

    async def seen() -> bool:
        return await world.livez() == (503, {"one": True, "two": False})

    await eventually(seen)


async def test_a_loop_that_dies_is_started_again(world: World) -> None:
    world.two.fault = RuntimeError("patient data")
    await world.two.turn()
    world.two.fault = None
    await world.two.turn()
    assert (await world.livez())[0] == 200


async def test_loops_that_end_in_a_drain_are_not_missed(world: World) -> None:
    world.stop.set()
    for loop in (world.one, world.two):
        loop.go_on.set()

    async def over() -> bool:
        return world.one.over and world.two.over

    await eventually(over)
    assert (await world.livez())[0] == 200


@pytest.mark.parametrize(
    ("ready", "status", "code"),
    [
        (Readiness({"mongodb": True}, {"kafka": True}), "ready", 200),
        (Readiness({"mongodb": True}, {"kafka": False}), "degraded", 200),
        (Readiness({"mongodb": False}, {"kafka": True}), "unready", 503),
    ],
)
async def test_only_what_is_required_makes_a_process_unready(
    world: World, ready: Readiness, status: str, code: int
) -> None:
    world.ready = ready
    answer = await world.get("/readyz")
    checks = {**ready.required, **ready.reported}
    assert (answer.status_code, answer.json()) == (code, {"status": status, "checks": checks})


async def test_a_process_that_answers_has_started_though_it_is_not_ready(world: World) -> None:
    world.ready = Readiness({"mongodb": False})
    assert (await world.get("/startupz")).status_code == 200


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
async def test_every_loop_of_a_service_is_watched(process: Processes, service: Service) -> None:
    made = process(service, "all")
    wanted = {"ping", "topics", "relay.alarm", "relay.bulk", "outbox_watch", "trouble", "sealer", "redrive"}
    assert wanted | {*made.wiring.background, *made.wiring.everywhere} <= set(made.loops.alive())
    assert all(made.loops.alive().values())
    api = process(service, "api")
    assert {"ping", "topics", *api.wiring.everywhere} <= set(api.loops.alive())
    assert not {"relay.alarm", "sealer", *api.wiring.background} & set(api.loops.alive())


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
@pytest.mark.parametrize("role", ["api", "all"])
async def test_an_api_needs_its_store_and_never_kafka(process: Processes, service: Service, role: str) -> None:
    made = process(service, role)
    assert made.ready().status == ("degraded" if service is MONITORING else "unready")
    made.mongo.last_success = made.clock.monotonic()
    assert made.ready().status == "degraded"
    assert made.ready().reported["kafka"] is False
    made.mongo.last_success -= READY_SECONDS
    assert made.ready().status == ("degraded" if service is MONITORING else "unready")


async def test_a_worker_is_ready_when_its_consumers_have_joined(process: Processes) -> None:
    made = process(NOTIFICATIONS, "worker")
    assert made.ready().required == {"accepting": True, "consumers": False}
    for consumer in made._consumers:
        consumer.joined = True
    assert made.ready().status == "degraded"
    assert "mongodb" not in made.ready().required


async def test_a_run_of_bad_records_stops_no_alarm(process: Processes) -> None:
    made = process(NOTIFICATIONS, "worker")
    fused = {consumer.group: consumer._fuse for consumer in made._consumers}
    assert fused == {"stillwater.notifications": True, "stillwater.notifications.alarms": False}


async def test_a_dead_alarm_consumer_is_missed_in_six_seconds_and_any_other_in_fifteen(
    process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", dict)
    asked = [consumer._connect() for consumer in process(NOTIFICATIONS, "worker")._consumers]
    sessions = {options["group_id"]: options["session_timeout_ms"] for options in asked}
    assert sessions == {"stillwater.notifications": 15_000, "stillwater.notifications.alarms": 6_000}
