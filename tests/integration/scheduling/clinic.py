"""A clinic of its own on the running services: HTTP in, what comes out on Kafka, and events of the other services."""

import json
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.clock import ScaledClock
from shared.events.envelope import Envelope, Event, read_record, rfc3339
from shared.events.intake import TreatmentPlanActivated
from shared.ids import new_id
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.topics import topic_for
from tests.support.eventually import eventually

TOPIC = "stillwater.scheduling.v1"
Answer = httpx.Response


class Clinic:
    def __init__(self, stack: Stack) -> None:
        self.id, self._stack = new_id(), stack
        self._http = httpx.AsyncClient(verify=NO_TLS, base_url=stack.url("scheduling"), timeout=20)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka, enable_auto_commit=False)
        self._producer = new_producer(KafkaAddress(stack.kafka), "tests")
        self._seen: list[tuple[Envelope, dict[str, Any]]] = []
        self.clock = ScaledClock(stack.home / "clock.jsonl")

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._producer.start()
        places = [TopicPartition(TOPIC, number) for number in range(12)]
        self._consumer.assign(places)
        await self._consumer.seek_to_end(*places)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._producer.stop()
        await self._http.aclose()

    # HTTP

    async def ask(
        self, method: str, path: str, body: object = None, *, role: str = "front_desk", **more: str
    ) -> Answer:
        """`etag="v1"` sends If-Match, `clinic=` and `patient=` change whose token it is."""
        token = self._stack.token(role, f"{role}-1", more.get("clinic", self.id), _patient(role, more))
        headers = {"Authorization": f"Bearer {token}"}
        if "etag" in more:
            headers["If-Match"] = f'"{more["etag"]}"'
        return await self._http.request(method, path, json=body, headers=headers)

    async def made(self, path: str, body: object, **more: str) -> dict[str, Any]:
        answer = await self.ask("POST", path, body, **more)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def act(self, appointment: dict[str, Any], verb: str, body: object = None, **more: str) -> Answer:
        more = {"etag": f"v{appointment['version']}", **more}
        return await self.ask("POST", f"/v1/appointments/{appointment['id']}/{verb}", body, **more)

    async def done(self, appointment: dict[str, Any], verb: str, body: object = None, **more: str) -> dict[str, Any]:
        answer = await self.act(appointment, verb, body, **more)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def room(self, kind: str = "room") -> str:
        name: str = (await self.made("/v1/resources", {"kind": kind, "label": f"{kind} {uuid4().hex[:4]}"}))["id"]
        return name

    def in_(self, **delta: float) -> datetime:
        now = self.clock.clinical_now() + timedelta(**delta)
        return now.replace(minute=0, second=0, microsecond=0) if "minutes" not in delta else now

    def visit(self, *resources: str, start: datetime | None = None, hours: float = 1, **changed: Any) -> dict[str, Any]:
        start = start or self.in_(days=2)
        times = {"start": rfc3339(start), "end": rfc3339(start + timedelta(hours=hours))}
        body = {"patient_id": new_id(), "kind": "consultation", "resources": list(resources)}
        return {**body, **times, **changed}

    # Events

    async def told(self, kind: type[Event], /, **match: object) -> dict[str, Any]:
        """The payload of the newest event of this kind, clinic and match, once it is on Kafka."""

        async def look() -> dict[str, Any] | None:
            for rows in (await self._consumer.getmany(timeout_ms=50)).values():
                for row in rows:
                    envelope, value = read_record(row.headers, row.value)
                    self._seen.append((envelope, json.loads(value or b"{}")))
            wanted = [
                data
                for envelope, data in self._seen
                if (envelope.type, envelope.clinic_id) == (kind.event_type(), self.id)
            ]
            fitting = [data for data in wanted if all(data.get(name) == item for name, item in match.items())]
            return fitting[-1] if fitting else None

        found = await eventually(look)
        assert found is not None
        return found

    async def hear(self, event: Event, aggregate: str, version: int = 1) -> None:
        """Another service says this."""
        envelope = Envelope(
            id=new_id(),
            source=f"/stillwater/{event.SERVICE}/{aggregate}",
            type=event.event_type(),
            time=rfc3339(self.clock.system_now()),
            clinic_id=self.id,
            partition_key=event.patient_id or aggregate,
            sequence=f"{version:010d}.0001",
        )
        key, value = envelope.partition_key.encode(), event.model_dump_json(exclude_none=True).encode()
        await self._producer.send_and_wait(topic_for(type(event)).name, value, key, headers=envelope.headers())

    async def plan(self, patient_id: str, **changed: Any) -> str:
        """A plan that scheduling knows."""
        event = plan(patient_id, **changed)
        await self.hear(event, f"plan/{event.plan_id}", event.version)

        async def known() -> bool:
            return bool((await self.course(event.plan_id))["known"])

        await eventually(known)
        return event.plan_id

    async def course(self, plan_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.ask("GET", f"/v1/courses/{plan_id}")).json()
        return shown


def plan(patient_id: str, **changed: Any) -> TreatmentPlanActivated:
    fields: dict[str, Any] = {"plan_id": new_id(), "patient_id": patient_id, "route": "iv", "medication": "ketamine"}
    fields |= {"dose_mg_per_kg": 0.5, "session_count": 3, "min_gap_hours": 48, "integration_after": True}
    fields |= {"protocol_version": "1", "version": 2}
    known = {name: item for name, item in (fields | changed).items() if name in TreatmentPlanActivated.model_fields}
    return TreatmentPlanActivated(**known)


WHOLE = ("patient_id", "kind", "mode", "start", "end", "time_zone", "resources")


def whole(row: dict[str, Any]) -> dict[str, Any]:
    """What an event and an answer must have in common; times as moments."""
    read = {name: datetime.fromisoformat(row[name]) for name in ("start", "end")}
    return {name: row[name] for name in WHOLE} | read


def reasons(answer: Answer) -> list[str]:
    """The codes of a refusal."""
    return [row["code"] for row in answer.json().get("reasons", [])]


def _patient(role: str, more: dict[str, Any]) -> str | None:
    """A patient's token names a patient, always."""
    named: str | None = more.get("patient")
    return named or (new_id() if role == "patient" else None)
