"""Scheduling alone on a real store: events in through its pipeline, HTTP in through its application, time by hand."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import httpx

from services.scheduling.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.scheduling.model import VisitProtocol
from services.scheduling.routes import router
from services.scheduling.usecases.deps import Deps
from services.scheduling.wiring import PROTOCOLS
from shared.clock import ManualClock
from shared.errors import Unauthorized
from shared.events.envelope import Envelope, Event, rfc3339
from shared.ids import new_id
from shared.messaging.handling import Pipeline
from shared.messaging.outcomes import Outcome
from shared.messaging.record import Record
from shared.messaging.topics import topic_for
from shared.persistence.mongo import Document, Mongo
from shared.persistence.timers import TimerRunner
from shared.persistence.vault import KeyRing
from shared.protocols import load
from shared.web.app import create_app
from shared.web.auth import Principal, Role
from shared.web.rates import Limiter
from shared.web.runtime import Runtime

CLINIC = "01920000-0000-7000-8000-0000000000c2"
PATIENT = "01920000-0000-7000-8000-0000000000a2"
RING = KeyRing("k1:" + b64encode(b"k" * 32).decode())


class _Tokens:
    """Bearer `role:patient`; checking real tokens is tested where it lives."""

    async def principal(self, authorization: str | None) -> Principal:
        if authorization is None:
            raise Unauthorized
        role, _, patient = authorization.removeprefix("Bearer ").partition(":")
        return Principal(f"{role}-1", frozenset({Role(role)}), frozenset({CLINIC}), patient or None)


class World:
    def __init__(self, mongo: Mongo, clock: ManualClock) -> None:
        self.mongo, self.clock = mongo, clock
        self.deps = Deps(protocol=load(PROTOCOLS / "visits.yaml", VisitProtocol))
        tokens: Any = _Tokens()
        runtime = Runtime(mongo, clock, RING, tokens, b"s" * 32, self.deps, Limiter(clock.monotonic))
        transport = httpx.ASGITransport(create_app("scheduling", [router], runtime))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://scheduling.test")
        self._versions: dict[str, int] = {}

    # Events

    async def handle(self, event: Event, aggregate: str, version: int = 1, ordinal: int = 1) -> Outcome | None:
        envelope = Envelope(
            id=new_id(),
            source=f"/stillwater/{event.SERVICE}/{aggregate}",
            type=event.event_type(),
            time=rfc3339(self.clock.system_now()),
            clinic_id=CLINIC,
            partition_key=event.patient_id or "k",
            sequence=f"{version:010d}.{ordinal:04d}",
        )
        handlers = {**EVENT_HANDLERS, **ALARM_HANDLERS}
        pipeline = Pipeline(self.mongo, "scheduling", "stillwater.scheduling", handlers, self.deps)
        value = event.model_dump_json().encode()
        return await pipeline.handle(Record(topic_for(type(event)).name, 0, 0, b"k", value, envelope.headers()))

    async def rows(self, collection: str, **query: Any) -> list[Document]:
        return await self.mongo.plumbing(collection).find(query)

    async def emitted(self, kind: type[Event]) -> list[dict[str, Any]]:
        """The payloads in the outbox, in their order."""
        wanted = kind.event_type().encode()
        rows = [row for row in await self.rows("outbox") if wanted in [value for _, value in row["headers"]]]
        return [json.loads(row["value"]) for row in rows]

    async def pass_time(self, **delta: float) -> None:
        """Time goes by and what is due fires."""
        self.clock.advance(timedelta(**delta).total_seconds())
        runner = TimerRunner(self.mongo, TIMER_HANDLERS, self.deps, "scheduling")
        while await runner.fire_due():
            pass

    # HTTP

    async def ask(
        self, method: str, path: str, body: object = None, *, role: str = "front_desk", etag: int | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {role}"} | ({} if etag is None else {"If-Match": f'"v{etag}"'})
        return await self._http.request(method, path, json=body, headers=headers)

    async def made(self, path: str, body: object) -> dict[str, Any]:
        answer = await self.ask("POST", path, body)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def resource(self, kind: str = "room", **changed: Any) -> dict[str, Any]:
        return await self.made("/v1/resources", {"kind": kind, "label": f"{kind} 1", **changed})

    def visit(self, *resources: dict[str, Any], hours: float = 24, length: float = 1, **changed: Any) -> dict[str, Any]:
        """A visit that begins `hours` from now."""
        start = self.clock.clinical_now() + timedelta(hours=hours)
        times = {"start": rfc3339(start), "end": rfc3339(start + timedelta(hours=length))}
        body = {"patient_id": PATIENT, "kind": "consultation", "resources": [row["id"] for row in resources]}
        return {**body, **times, **changed}

    async def booked(self, *resources: dict[str, Any], **changed: Any) -> dict[str, Any]:
        return await self.made("/v1/appointments", self.visit(*resources, **changed))

    async def appointment(self, appointment_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.ask("GET", f"/v1/appointments/{appointment_id}")).json()
        return shown

    async def act(
        self, row: dict[str, Any], verb: str, body: object = None, role: str = "front_desk"
    ) -> httpx.Response:
        version = (await self.appointment(row["id"]))["version"]
        return await self.ask("POST", f"/v1/appointments/{row['id']}/{verb}", body, role=role, etag=version)

    async def course(self, plan_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.ask("GET", f"/v1/courses/{plan_id}")).json()
        return shown
