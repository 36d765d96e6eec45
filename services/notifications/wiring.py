"""The only place of notifications that names concrete classes."""

from pathlib import Path

from services.notifications.escalation import EscalationPolicy
from services.notifications.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.notifications.messages import MessageTexts
from services.notifications.routes import router
from services.notifications.sender import Sender
from services.notifications.settings import NotificationsSettings
from services.notifications.store import INDEXES
from services.notifications.usecases import Deps
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def wire(settings: NotificationsSettings, mongo: Mongo, ring: KeyRing) -> Wiring:
    if settings.transport_key_ring is None:
        raise ValueError("NOTIFICATIONS_TRANSPORT_KEY_RING is needed")
    pager, mail = Sender(mongo, settings, urgent=True), Sender(mongo, settings, urgent=False)
    deps = Deps(
        vault=Vault(ring),
        transport=TransportCipher(KeyRing(settings.transport_key_ring.get_secret_value())),
        policy=load(PROTOCOLS / "escalation.yaml", EscalationPolicy),
        texts=load(PROTOCOLS / "messages.yaml", MessageTexts),
        fallback_pager=settings.fallback_pager,
        public_url=settings.public_url,
        wake_pager=pager.wake,
    )
    pager.deps = mail.deps = deps
    return Wiring(
        deps=deps,
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        alarm_handlers=ALARM_HANDLERS,
        timer_handlers=TIMER_HANDLERS,
        background={"sender.pager": pager.run, "sender.mail": mail.run},
    )


SERVICE = Service("notifications", NotificationsSettings, wire)
