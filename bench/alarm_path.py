"""Abnormal reading posted -> page at the sink; open loop, the clock starts at the intended moment of sending."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from motor.motor_asyncio import AsyncIOMotorClient

from bench.bare import two_documents
from bench.figures import Figure, median, quantile
from bench.http import Connection, Pool
from bench.world import World
from shared.events.envelope import rfc3339

EPISODES_PER_SECOND = 10.0
CALM, LOADED = 10, 200  # sessions at 1 Hz beside the episodes
SIGNS = (("8480-6", "mm[Hg]", 120), ("8867-4", "/min", 70), ("59408-5", "%", 98), ("9279-1", "/min", 14))
READY = {"fasting": True, "escort_named": True, "well_today": True}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}


class Ward:
    """Open sessions, one room each, and the nurse's and the device's tokens."""

    def __init__(self, world: World, pool: Pool) -> None:
        self._world, self._pool = world, pool
        self.nurse = world.stack.token("nurse", "nurse-bench")
        self.device = world.stack.token("device", "gateway-bench")

    async def open(self, room: str) -> str:
        status, body = await self._pool.post("/v1/sessions", {"patient_id": str(uuid4())}, self.nurse)
        assert status == 201, body
        session: str = orjson.loads(body)["id"]
        arrival = {"identity_confirmed": True, "display_label": "B", "room": room, "chair": "1", "readiness": READY}
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": "nurse-bench"}]
        for verb, content in (("check-in", arrival), ("baseline", BASE)):
            status, body = await self._pool.post(f"/v1/sessions/{session}/{verb}", content, self.nurse)
            assert status == 200, body
        return session

    async def measure(self, session: str, values: dict[str, float], device: str = "manual") -> None:
        now = rfc3339(self._world.stack.now())
        readings = [
            {"sign": sign, "value": values.get(sign, normal), "unit": unit, "taken_at": now, "device": device}
            for sign, unit, normal in SIGNS
            if not values or sign in values
        ]
        status, body = await self._pool.post(f"/v1/sessions/{session}/vitals", {"readings": readings}, self.device)
        assert status == 200, body

    async def attend(self, alarm_id: str) -> None:
        """Else it would be paged for again and again."""
        status, body = await self._pool.post(f"/v1/alarms/{alarm_id}/attend", {}, self.nurse)
        assert status == 200, body

    async def leave(self, session: str) -> None:
        """Else its monitor would be silent beside the next measurement, and be paged for."""
        status, body = await self._pool.post(
            f"/v1/sessions/{session}/leave", {"disposition": "transferred"}, self.nurse
        )
        assert status == 200, body

    async def monitor(self, session: str, stop: asyncio.Event, offset: float) -> None:
        """A calm session at 1 Hz, four signs at a time; monitors do not all measure at the same moment of a second."""
        await asyncio.sleep(offset)
        start = time.perf_counter()
        for second in itertools.count(1):
            if stop.is_set():
                return
            await self.measure(session, {}, "monitor")
            await asyncio.sleep(max(start + second - time.perf_counter(), 0))


async def measure(world: World, episodes: int) -> list[Figure]:
    """The path beside ten calm sessions, and beside two hundred."""
    figures, calm = await _beside_a_few(world, episodes)
    async with _watched(world, LOADED) as ward:
        loaded = await _latencies(world, ward, episodes)
    return [
        *figures,
        Figure("alarm_path_loaded_p50_ms", median(loaded), "ms", median(calm)),
        Figure("alarm_path_loaded_p99_ms", quantile(loaded, 0.99), "ms", quantile(calm, 0.99), "<= 3 x"),
        Figure("alarm_path_loaded_lost", episodes - len(loaded), "pages", None, "0"),
    ]


async def measure_calm(world: World, episodes: int) -> list[Figure]:
    """The path beside ten calm sessions alone."""
    return (await _beside_a_few(world, episodes))[0]


async def _beside_a_few(world: World, episodes: int) -> tuple[list[Figure], list[float]]:
    """The bare steps are measured at the episodes' pace and beside the same sessions: a step that is alone costs half."""
    await _register(world)
    async with _watched(world, CALM) as ward:
        steps = await bare_steps(world)
        found = await _latencies(world, ward, episodes)
    bare = sum(median(values) for values in steps.values())
    bare_99 = sum(quantile(values, 0.99) for values in steps.values())
    figures = [
        Figure("alarm_path_p50_ms", median(found), "ms", bare, "<= 2 x"),
        Figure("alarm_path_p99_ms", quantile(found, 0.99), "ms", bare_99, "< 50 ms"),
        Figure("alarm_path_lost", episodes - len(found), "pages", None, "0"),
    ]
    return figures, found


@contextlib.asynccontextmanager
async def _watched(world: World, beside: int) -> AsyncIterator[Ward]:
    """A ward with so many calm sessions at 1 Hz, for as long as the block lasts."""
    async with Pool(world.part("monitoring-api").port) as pool:
        ward, stop = Ward(world, pool), asyncio.Event()
        calm = [await ward.open(f"calm-{uuid4().hex[:6]}-{number}") for number in range(beside)]
        monitors = [
            asyncio.create_task(ward.monitor(session, stop, number / beside)) for number, session in enumerate(calm)
        ]
        yield ward
        stop.set()
        await asyncio.gather(*monitors)
        for session in calm:
            await ward.leave(session)


async def _latencies(world: World, ward: Ward, episodes: int) -> list[float]:
    """Milliseconds from each reading's intended moment to its page. Collapse values have no on-delay: one episode per sign."""
    run = uuid4().hex[:6]  # a second measurement has rooms of its own
    rooms = [f"room-{run}-{number}" for number in range(-(-episodes // len(SIGNS)))]
    sessions = {room: await ward.open(room) for room in rooms}
    return await _episodes(world, ward, sessions, episodes)


async def _register(world: World) -> None:
    """The nurse has a pager, at the sink."""
    import httpx  # noqa: PLC0415

    token = world.stack.token("medical_director", "director-bench")
    url = f"http://127.0.0.1:{world.part('notifications-api').port}/v1/staff-contacts/nurse-bench"
    async with httpx.AsyncClient() as client:
        answer = await client.put(url, json={"pager": "pager-bench"}, headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()


async def _episodes(world: World, ward: Ward, sessions: dict[str, str], episodes: int) -> list[float]:
    intended: dict[tuple[str, str], float] = {}
    start, tasks = time.perf_counter() + 1, []
    places = list(itertools.product(SIGNS, sessions.items()))[:episodes]
    for number, ((sign, _, normal), (room, session)) in enumerate(places):
        due = start + number / EPISODES_PER_SECOND
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        intended[(room, sign)] = due
        tasks.append(asyncio.create_task(_episode(world, ward, session, (room, sign), normal)))
    await asyncio.gather(*tasks)
    deadline = time.perf_counter() + 10
    while time.perf_counter() < deadline and set(intended) - set(world.sink.arrived):
        await asyncio.sleep(0.05)
    arrived = world.sink.arrived
    return [(arrived[place] - due) * 1000 for place, due in intended.items() if place in arrived]


async def _episode(world: World, ward: Ward, session: str, place: tuple[str, str], normal: float) -> None:
    """Zero; a second later somebody is at the chair, and all is normal before the delays of the milder rules have passed."""
    sign = place[1]
    await ward.measure(session, {sign: 0})
    await asyncio.sleep(1)
    for alarm_id in sorted(world.sink.alarms[place]):  # a collapse is a fall too
        await ward.attend(alarm_id)
    await ward.measure(session, {sign: normal})


async def bare_steps(world: World, rounds: int = 200) -> dict[str, list[float]]:
    """What the path cannot do without, one after the other: POST, transaction, Kafka hop, transaction, push.

    Ten rounds a second: cores and threads that slept in between make each step twice what it takes back to back.
    """
    found: dict[str, list[float]] = {name: [] for name in ("post", "transaction", "hop", "transaction_2", "push")}
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(world.stack.mongodb_uri)
    topic = await world.topic("hop", 1)
    bare, sink = Connection("127.0.0.1", world.bare_port), Connection("127.0.0.1", world.sink.port)
    thing = {"name": "x" * 200, "number": 1}
    producer = AIOKafkaProducer(bootstrap_servers=world.stack.kafka, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=world.stack.kafka, auto_offset_reset="earliest")
    async with producer, consumer:
        for _ in range(rounds):
            await asyncio.sleep(1 / EPISODES_PER_SECOND)
            for name, step in (
                ("post", bare.post("/echo", thing)),
                ("transaction", two_documents(client, "bare")),
                ("hop", _hop(producer, consumer, topic)),
                ("transaction_2", two_documents(client, "bare")),
                ("push", sink.post("/", {"room": "bare"})),
            ):
                began = time.perf_counter()
                await step
                found[name].append((time.perf_counter() - began) * 1000)
    bare.close()
    sink.close()
    client.close()
    return found


async def _hop(producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str) -> None:
    await producer.send_and_wait(topic, b"x" * 400)
    await consumer.getone()
