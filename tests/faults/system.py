"""The running system of a fault run: split roles, its processes in the hand, its stores and sinks in the eye."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect

from deploy.local import processes
from deploy.local.stack import Part
from shared.events.envelope import BadRecord, read_record
from shared.messaging.topics import BEATS, SERVICES
from shared.messaging.topics import TOPICS as ALL_TOPICS
from tests.faults.history import Fault, History, Observed
from tests.faults.members import MEMBERS, ProxiedStack
from tests.support.eventually import NotInTime, eventually

STILL_SECONDS = 60.0
TOPICS = tuple(topic for topic in ALL_TOPICS if topic is not BEATS)


class System:
    """Names of processes: `mongod`, `mongod-2`, `kafka`, `intake-api`, `monitoring-worker` and so on."""

    def __init__(self, stack: ProxiedStack, history: History) -> None:
        self.stack, self.history = stack, history
        self.seen: Observed | None = None
        self.client: Any = AsyncIOMotorClient(stack.mongodb_uri, tz_aware=True)

    @contextlib.asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[None]:
        """Note the span of a fault; while it lasts, its end is open."""
        fault = Fault(name, time.time(), float("inf"))
        self.history.faults.append(fault)
        try:
            yield
        finally:
            self.history.faults.remove(fault)
            self.history.faults.append(replace(fault, ended=time.time()))

    async def lasts(self, seconds: float) -> None:
        """How long a fault is there: the one thing that no condition ends. It has to outlast leases and sessions."""
        end = time.monotonic() + seconds

        async def over() -> bool:
            return time.monotonic() >= end

        await eventually(over, seconds + STILL_SECONDS)

    async def asked(self, requests: int) -> None:
        """Until the traffic has asked for so much more. Raises NotInTime when it stands still."""
        wanted = len(self.history.asked) + requests

        async def enough() -> bool:
            return len(self.history.asked) >= wanted

        await eventually(enough, STILL_SECONDS)

    def part(self, name: str) -> Part:
        return next(part for part in self.stack.parts if part.name == name)

    def pid(self, name: str) -> int:
        process = processes.running(self.stack.home, name)
        assert process is not None, f"{name} does not run"
        return process.pid

    def send(self, name: str, number: signal.Signals) -> None:
        process = processes.running(self.stack.home, name)
        assert process is not None, f"{name} does not run"
        process.send_signal(number)

    async def kill(self, name: str, down_s: float = 0.0) -> None:
        """kill -9, and start it again."""
        await asyncio.to_thread(processes.kill, self.stack.home, name)
        await self.lasts(down_s)
        await asyncio.to_thread(self.start, name)

    def start(self, name: str) -> None:
        if name in (*MEMBERS, "kafka"):
            self.stack.start_store(name)
            return
        part = self.part(name)
        self.stack.start_part(part)
        self.stack.wait_ready(part)

    async def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP and SIGCONT: longer than leases and group sessions last."""
        self.send(name, signal.SIGSTOP)
        await self.lasts(seconds)
        self.send(name, signal.SIGCONT)

    async def ready(self) -> None:
        """Every member of the store is whole again, and every process says that it is ready. Raises NotInTime, StackError."""
        try:
            await eventually(partial(asyncio.to_thread, self.stack.is_whole), STILL_SECONDS, 0.1)
        except NotInTime as late:
            raise NotInTime(
                f"not whole within {STILL_SECONDS:g} s: {await asyncio.to_thread(self.stack.trouble)}"
            ) from late
        for part in self.stack.parts:
            await asyncio.to_thread(self.stack.wait_ready, part)

    async def observe(self) -> Observed:
        """Everything that the checker looks at."""
        async with httpx.AsyncClient(timeout=20) as client:
            messages = (await client.get(f"{self.stack.issuer}/messages")).json()
        outbox = [row for service in SERVICES for row in await self.rows(service, "outbox")]
        letters = [row for service in SERVICES for row in await self.rows(service, "dead_letters")]
        return Observed(
            inquiries=await self.rows("intake", "inquiries"),
            messages=await self.rows("notifications", "messages"),
            alarms=await self.rows("monitoring", "alarms"),
            escalations=await self.rows("notifications", "escalations"),
            dead_letters=[row | {"event_id": _event_id(row)} for row in letters],
            outbox=outbox,
            inbox=[row["_id"] for service in SERVICES for row in await self.rows(service, "inbox")],
            records=await self.records(),
            mails=[row for row in messages if row["kind"] == "email"],
            pages=[row for row in messages if row["kind"] == "pager"],
            plans=await self.rows("intake", "plans"),
            appointments=await self.rows("scheduling", "appointments"),
            sessions=await self.rows("monitoring", "sessions"),
            vitals=await self.rows("monitoring", "vitals"),
        )

    async def rows(self, service: str, collection: str, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All documents, or those that are asked for, as soon as a member can be asked."""

        async def read() -> list[list[dict[str, Any]]] | None:
            with contextlib.suppress(AutoReconnect):
                return [await self.client[service][collection].find(query or {}).to_list(None)]
            return None

        return (await eventually(read, STILL_SECONDS))[0]

    async def records(self) -> list[dict[str, Any]]:
        """Every record of every topic, per partition in order."""
        found: list[dict[str, Any]] = []
        async with AIOKafkaConsumer(bootstrap_servers=self.stack.kafka, auto_offset_reset="earliest") as reader:
            places = [TopicPartition(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
            reader.assign(places)
            ends = await reader.end_offsets(places)
            begins = await reader.beginning_offsets(places)
            left = {place for place in places if ends[place] > begins[place]}
            while left:
                for rows in (await reader.getmany(timeout_ms=500)).values():
                    found += [_shown(row) for row in rows]
                left = {place for place in left if await reader.position(place) < ends[place]}
        return [row for row in found if row["id"]]


def _shown(row: Any) -> dict[str, Any]:
    try:
        envelope, _ = read_record(row.headers, row.value)
    except BadRecord:
        return {"id": ""}
    return {
        "id": envelope.id,
        "type": envelope.type,
        "topic": row.topic,
        "source": envelope.source,
        "sequence": envelope.sequence,
    }


def _event_id(letter: dict[str, Any]) -> str:
    return next((bytes(item).decode(errors="replace") for name, item in letter["headers"] if name == "ce_id"), "")
