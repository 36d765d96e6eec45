"""One clinic on a real store, with what the tests do to it."""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

import services.notifications
from services.notifications import schemas
from services.notifications.escalation import EscalationPolicy
from services.notifications.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.notifications.messages import MessageTexts
from services.notifications.providers import Refused, Unreached
from services.notifications.routes import router
from services.notifications.sender import Sender
from services.notifications.store import SHAPES
from services.notifications.usecases import directory
from services.notifications.usecases.deps import Deps, Outbound
from shared.clock import ManualClock
from shared.errors import Unauthorized
from shared.events.envelope import Envelope, Event, rfc3339
from shared.events.intake import ContactRecord
from shared.events.monitoring import SessionCheckedIn, SignRef, StaffRef, VitalsAbnormal
from shared.ids import new_id
from shared.messaging.handling import Pipeline
from shared.messaging.outcomes import Outcome
from shared.messaging.record import Record
from shared.messaging.topics import topic_for
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.timers import TimerRunner
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from shared.web.app import create_app
from shared.web.auth import Principal, Role
from shared.web.rates import Limiter
from shared.web.runtime import Runtime

CLINIC = "01920000-0000-7000-8000-0000000000c1"
PATIENT = "01920000-0000-7000-8000-0000000000a1"
PROTOCOLS = Path(services.notifications.__file__).parent / "protocols"
RING = KeyRing("k1:" + b64encode(b"k" * 32).decode())
TRANSPORT = TransportCipher(KeyRing("t1:" + b64encode(b"t" * 32).decode()))
ADA = {"name": "Ada Example", "email": "ada@example.org", "phone": "+12025550123", "language": "en"}


class Recorder:
    """A provider that remembers, and that can be told to fail first; `crash` dies after the provider took it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Document]] = []
        self.faults: list[Refused | Unreached | None] = []
        self.crash = False

    async def send(self, key: str, to: str, payload: Document) -> None:
        self.calls.append((key, to, payload))
        if self.crash:
            raise asyncio.CancelledError
        if self.faults and (fault := self.faults.pop(0)):
            raise fault

    @property
    def addressees(self) -> list[str]:
        return [to for _, to, _ in self.calls]


class _Tokens:
    """Bearer `role:subject`, or `role:subject@clinic`; checking real tokens is tested where it lives."""

    async def principal(self, authorization: str | None) -> Principal:
        if authorization is None:
            raise Unauthorized
        role, _, name = authorization.removeprefix("Bearer ").partition(":")
        subject, _, clinic = name.partition("@")
        patient = subject if role == "patient" else None
        return Principal(subject, frozenset({Role(role)}), frozenset({clinic or CLINIC}), patient)


class World:
    def __init__(self, mongo: Mongo, clock: ManualClock) -> None:
        self.mongo, self.clock = mongo, clock
        mongo.shapes = SHAPES
        self.pager, self.sms, self.voice, self.mail = Recorder(), Recorder(), Recorder(), Recorder()
        self.deps = self.process("p1")
        self.alarm_no = 0

    def process(self, holder: str) -> Deps:
        return Deps(
            vault=Vault(RING),
            transport=TRANSPORT,
            policy=load(PROTOCOLS / "escalation.yaml", EscalationPolicy),
            texts=load(PROTOCOLS / "messages.yaml", MessageTexts),
            fallback_pager="pager-fallback",
            public_url="http://notifications.test",
            mail_from="clinic@example.org",
            holder=holder,
            pages=Outbound(),
            mails=Outbound(),
            voice=True,
        )

    async def handle(
        self, event: Event, *, clinic: str = CLINIC, version: int = 1, event_id: str | None = None
    ) -> Outcome | None:
        return await self._handle(
            type(event), event.model_dump_json().encode(), clinic, version, event_id, event.patient_id
        )

    async def tombstone(self, subject_id: str) -> Outcome | None:
        return await self._handle(ContactRecord, None, CLINIC, 2, None, subject_id)

    async def _handle(
        self,
        kind: type[Event],
        value: bytes | None,
        clinic: str,
        version: int,
        event_id: str | None,
        key: str | None,
        offset: int = 0,
    ) -> Outcome | None:
        return await self.take(kind, self.record(kind, value, clinic, version, event_id, key, offset))

    def record(
        self,
        kind: type[Event],
        value: bytes | None,
        clinic: str = CLINIC,
        version: int = 1,
        event_id: str | None = None,
        key: str | None = None,
        offset: int = 0,
    ) -> Record:
        envelope = Envelope(
            id=event_id or new_id(),
            source="/stillwater/test/thing/1",
            type=kind.event_type(),
            time=rfc3339(self.clock.system_now()),
            clinic_id=clinic,
            partition_key=key or "k",
            sequence=f"{version:010d}.0001",
        )
        return Record(topic_for(kind).name, 0, offset, b"k", value, envelope.headers())

    async def take(self, kind: type[Event], record: Record) -> Outcome | None:
        handlers = ALARM_HANDLERS if kind in ALARM_HANDLERS else EVENT_HANDLERS
        group = "stillwater.notifications" + (".alarms" if handlers is ALARM_HANDLERS else "")
        return await Pipeline(self.mongo, "notifications", group, handlers, self.deps).handle(record)

    async def send(self, deps: Deps | None = None) -> None:
        """Both lanes once, to the end."""
        deps = deps or self.deps
        lanes = {"pager": [self.pager], "sms": [self.sms], "voice": [self.voice], "email": [self.mail]}
        for urgent in (True, False):
            await Sender(self.mongo, deps, lanes, urgent=urgent, parallel=50).send_due()

    async def pass_time(self, seconds: float) -> None:
        """Time goes by in steps of a second; timers fire, messages leave."""
        runner = TimerRunner(self.mongo, TIMER_HANDLERS, self.deps, "notifications")
        for _ in range(max(int(seconds), 1)):
            self.clock.advance(seconds / max(int(seconds), 1))
            await runner.fire_due()
            await self.send()

    async def contact_of(self, person: str, **contact: str) -> None:
        body = schemas.StaffContact(**contact)
        work = partial(directory.set_staff_contact, deps=self.deps, staff_id=person, body=body, expected=None)
        await self.mongo.run(system_scope(CLINIC, "test"), work)

    async def staff(self, **rota: list[str]) -> None:
        """Everybody in the rota and n1 have a pager, n1 a phone too."""

        async def work(unit: UnitOfWork) -> None:
            for person in {"n1", *(name for people in rota.values() for name in people)}:
                contact = schemas.StaffContact(
                    pager=f"pager-{person}", phone="+12025550199" if person == "n1" else None
                )
                await directory.set_staff_contact(unit, self.deps, person, contact, None)
            await directory.set_on_call(unit, schemas.OnCall(**rota), None)

        await self.mongo.run(system_scope(CLINIC, "test"), work)

    async def checks_in(self, nurse: str) -> None:
        """The patient of session s1, in room 2 at chair B; this nurse answers for it."""
        staff = [StaffRef(role="nurse", staff_id=nurse)]
        place = {"room": "Room 2", "chair": "B", "responsible_staff": staff}
        await self.handle(SessionCheckedIn(patient_id=PATIENT, session_id="s1", **place))

    async def rows(self, collection: str, **query: Any) -> list[Document]:
        return await self.mongo.plumbing(collection).find(query)

    async def emitted(self, kind: type[Event]) -> list[Document]:
        rows = await self.rows("outbox")
        return [
            row
            for row in rows
            if [b"ce_type", kind.event_type().encode()] in [[n.encode(), v] for n, v in row["headers"]]
        ]

    def contact(self, subject_id: str, version: int = 1, **changed: Any) -> ContactRecord:
        sealed = b64encode(TRANSPORT.encrypt(subject_id, {**ADA, **changed})).decode()
        return ContactRecord(subject_id=subject_id, version=version, sealed=sealed, at=self.clock.system_now())

    def alarm(
        self, *, raised_at: datetime | None = None, responsible: Iterable[str] = ("n1",), **changed: Any
    ) -> VitalsAbnormal:
        self.alarm_no += 1
        at = raised_at or self.clock.clinical_now()
        fields: dict[str, Any] = {
            "alarm_id": new_id(),
            "session_id": new_id(),
            "patient_id": PATIENT,
            "priority": "high",
        }
        sign = SignRef(sign="8480-6", value=192, unit="mm[Hg]", limit=180)
        return VitalsAbnormal(
            room="Room 2",
            chair="B",
            responsible_staff=[StaffRef(role="nurse", staff_id=person) for person in responsible],
            signs=[sign],
            rule="sbp_critical_high",
            category="physiological",
            taken_at=at - timedelta(seconds=5),
            raised_at=at,
            **{**fields, **changed},
        )

    def client(self) -> httpx.AsyncClient:
        tokens: Any = _Tokens()
        runtime = Runtime(self.mongo, self.clock, RING, tokens, b"s" * 32, self.deps, Limiter(self.clock.monotonic))
        transport = httpx.ASGITransport(create_app("notifications", [router], runtime))
        return httpx.AsyncClient(transport=transport, base_url="http://notifications.test")
