"""One clinic of its own on the running services: calls by role, and what its events say on Kafka."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.events.envelope import BadRecord, Envelope, Event, read_record, rfc3339
from shared.events.registry import REGISTRY
from shared.ids import new_id
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.topics import topic_for
from tests.support.eventually import eventually

CONTACT = {"name": "Grace Example", "email": "grace@example.org", "phone": "+12025550123"}


class World:
    def __init__(self, stack: Stack) -> None:
        self.stack, self.clinic = stack, new_id()
        self.http = httpx.AsyncClient(verify=NO_TLS, base_url=stack.url("intake"), timeout=15)
        self.patient = ""

    def headers(self, role: str, *, version: int | None = None, clinic: str | None = None) -> dict[str, str]:
        patient = self.patient if role == "patient" else None
        token = self.stack.token(role, f"{role}-1", clinic=clinic or self.clinic, patient_id=patient)
        match = {} if version is None else {"If-Match": f'"v{version}"'}
        return {"Authorization": f"Bearer {token}", **match}

    async def ask(
        self,
        role: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: int | None = None,
        clinic: str | None = None,
    ) -> httpx.Response:
        headers = self.headers(role, version=version, clinic=clinic)
        return await self.http.request(method, path.replace("{p}", self.path), json=body, headers=headers)

    async def call(self, role: str, method: str, path: str, body: Any = None, *, version: int | None = None) -> Any:
        answer = await self.ask(role, method, path, body, version=version)
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        if version is not None or method == "GET":
            assert "etag" in answer.headers or "items" in answer.json()
        return answer.json()

    @property
    def path(self) -> str:
        return f"/v1/patients/{self.patient}"

    async def register(self) -> str:
        body = {"contact": CONTACT, "birth_year": 1980}
        self.patient = (await self.call("front_desk", "POST", "/v1/patients", body))["id"]
        return self.patient

    def soon(self, seconds: float = 1.5) -> str:
        """In clinical time: a clinic day before this test may have left it hours ahead."""
        return rfc3339(self.stack.now() + timedelta(seconds=seconds))

    async def plan(self, *, sessions: int = 6, active: bool = True) -> str:
        wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": sessions}
        plan: str = (await self.call("clinician", "POST", "{p}/plans", wanted))["id"]
        if active:
            await self.call("prescriber", "POST", f"/v1/plans/{plan}/activate", version=1)
        return plan

    async def told(self, kind: type[Event]) -> list[tuple[Envelope, Any]]:
        """This clinic's events of one type, in the order of their aggregate's versions."""
        topic = topic_for(kind)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.stack.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            await consumer.seek_to_beginning(*places)
            rows: list[Any] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                rows += [row for batch in (await consumer.getmany(timeout_ms=200)).values() for row in batch]
        finally:
            await consumer.stop()
        read = [known for row in rows if (known := _read(row))]
        mine = [(envelope, value) for envelope, value in read if envelope.clinic_id == self.clinic and value]
        found = [(envelope, kind.read(value or b"")) for envelope, value in mine if REGISTRY[envelope.type] is kind]
        return sorted(found, key=lambda pair: pair[0].sequence)

    async def event(self, kind: type[Event], number: int = 1) -> tuple[Envelope, Any]:
        """The `number`-th event of this type, when it has come."""

        async def look() -> Sequence[tuple[Envelope, Any]]:
            found = await self.told(kind)
            return found if len(found) >= number else ()

        return (await eventually(look, 20))[number - 1]

    async def send(self, *events: Event) -> None:
        """As their producer would, one after the other in one partition."""
        producer = new_producer(KafkaAddress(self.stack.kafka), "test")
        await producer.start()
        for event in events:
            envelope = Envelope(
                id=new_id(),
                source=f"/stillwater/test/thing/{new_id()}",
                type=event.event_type(),
                time=rfc3339(SystemClock().system_now()),
                clinic_id=self.clinic,
                partition_key=event.patient_id or "k",
                sequence="0000000001.0001",
            )
            value, key = event.model_dump_json(exclude_none=True).encode(), envelope.partition_key.encode()
            await producer.send_and_wait(topic_for(type(event)).name, value, key=key, headers=envelope.headers())
        await producer.stop()

    async def plan_when(self, plan: str, state: str, review_codes: Sequence[str] = ()) -> Any:
        """The plan, once it is so."""

        async def look() -> Any:
            found = await self.call("clinician", "GET", f"/v1/plans/{plan}")
            return found if (found["state"], found["review_codes"]) == (state, list(review_codes)) else None

        return await eventually(look, 20)


def _read(row: Any) -> tuple[Envelope, bytes | None] | None:
    """None for what other tests have written there to be refused."""
    try:
        return read_record(row.headers, row.value)
    except BadRecord:
        return None
