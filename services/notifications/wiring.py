"""The only place of notifications that names concrete classes."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer

from services.notifications.beats import Watch
from services.notifications.escalation import EscalationPolicy
from services.notifications.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.notifications.memory import PagerBook
from services.notifications.messages import MessageTexts
from services.notifications.providers import TIMEOUT_SECONDS, Provider, providers
from services.notifications.routes import router
from services.notifications.sender import Sender
from services.notifications.settings import NotificationsSettings
from services.notifications.store import CHANGES, INDEXES, SHAPES
from services.notifications.usecases.deps import Deps, Outbound
from shared.ids import new_id
from shared.loops import Loop
from shared.messaging.kafka import KafkaAddress
from shared.messaging.precedence import Precedence
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from shared.service import Service, Wiring

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
        voice=bool(settings.urls("voice")),
    )


def _providers(settings: NotificationsSettings) -> Mapping[str, Sequence[Provider]]:
    """With connections of their own; they end with the process."""
    return providers(settings, httpx.AsyncClient(timeout=TIMEOUT_SECONDS))


def _beats_reader(settings: NotificationsSettings) -> AIOKafkaConsumer:
    address = KafkaAddress.of(settings)
    return AIOKafkaConsumer(client_id="notifications.beats", auto_offset_reset="latest", **address.options())


def wire(settings: NotificationsSettings, mongo: Mongo, ring: KeyRing) -> Wiring:
    deps = make_deps(settings, ring)
    book = PagerBook(mongo, deps, _providers(settings))
    first = Precedence()
    pages = Sender(mongo, deps, _providers(settings), first, urgent=True, parallel=PAGES_AT_ONCE)
    mails = Sender(mongo, deps, _providers(settings), urgent=False, parallel=MAILS_AT_ONCE)
    watch = Watch(mongo, deps, lambda: _beats_reader(settings))
    return Wiring(
        deps=deps,
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        alarm_handlers=ALARM_HANDLERS,
        timer_handlers=TIMER_HANDLERS,
        without_store=book.page,
        shapes=SHAPES,
        migrations=CHANGES,
        precedence=first,
        background={
            "sender.pages": Loop.of(pages),
            "sender.mail": Loop.of(mails),
            "watch.listen": Loop(watch.listen, lambda: watch.last_listened),
            "watch.look": Loop(watch.look, lambda: watch.last_looked),
            "memory": Loop.of(book),
        },
    )


SERVICE = Service("notifications", NotificationsSettings, wire)
