"""The only place of notifications that names concrete classes."""

import asyncio
import os
import socket
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer

from services.notifications.beats import Watch
from services.notifications.escalation import EscalationPolicy
from services.notifications.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.notifications.memory import PagerBook
from services.notifications.messages import MessageTexts
from services.notifications.providers import TIMEOUT_SECONDS, providers
from services.notifications.routes import router
from services.notifications.sender import Sender
from services.notifications.settings import NotificationsSettings
from services.notifications.store import INDEXES
from services.notifications.usecases.deps import Deps, Outbound
from shared.ids import new_id
from shared.messaging.kafka import KafkaAddress
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from shared.service import Service, Task, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"
PAGES_AT_ONCE, MAILS_AT_ONCE = 64, 8


def make_deps(settings: NotificationsSettings, ring: KeyRing) -> Deps:
    """Raises ProtocolError for content that is not valid."""
    return Deps(
        vault=Vault(ring),
        transport=TransportCipher(KeyRing(settings.transport_key_ring.get_secret_value())),
        policy=load(PROTOCOLS / "escalation.yaml", EscalationPolicy),
        texts=load(PROTOCOLS / "messages.yaml", MessageTexts),
        fallback_pager=settings.fallback_pager,
        public_url=settings.public_url,
        mail_from=settings.smtp_from,
        holder=f"{socket.gethostname()}:{os.getpid()}:{new_id()}",
        pages=Outbound(),
        mails=Outbound(),
    )


def _sending(mongo: Mongo, deps: Deps, settings: NotificationsSettings, *, urgent: bool) -> Task:
    parallel = PAGES_AT_ONCE if urgent else MAILS_AT_ONCE

    async def run(stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            await Sender(mongo, deps, providers(settings, client), urgent=urgent, parallel=parallel).run(stop)

    return run


def _remembering(book: PagerBook, settings: NotificationsSettings) -> Task:
    async def run(stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            book.providers = providers(settings, client)
            await book.run(stop)

    return run


def _beats_reader(settings: NotificationsSettings) -> AIOKafkaConsumer:
    address = KafkaAddress.of(settings)
    return AIOKafkaConsumer(client_id="notifications.beats", auto_offset_reset="latest", **address.options())


def wire(settings: NotificationsSettings, mongo: Mongo, ring: KeyRing) -> Wiring:
    deps = make_deps(settings, ring)
    book = PagerBook(mongo, deps)
    watch = Watch(mongo, deps, lambda: _beats_reader(settings))
    return Wiring(
        deps=deps,
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        alarm_handlers=ALARM_HANDLERS,
        timer_handlers=TIMER_HANDLERS,
        without_store=book.page,
        background={
            "sender.pages": _sending(mongo, deps, settings, urgent=True),
            "sender.mail": _sending(mongo, deps, settings, urgent=False),
            "watch.listen": watch.listen,
            "watch.look": watch.look,
            "memory": _remembering(book, settings),
        },
    )


SERVICE = Service("notifications", NotificationsSettings, wire)
