"""The only place of scheduling that names concrete classes."""

from pathlib import Path

from services.scheduling.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.scheduling.model import VisitProtocol
from services.scheduling.republish import REPUBLISH
from services.scheduling.routes import router
from services.scheduling.settings import SchedulingSettings
from services.scheduling.store import CHANGES, INDEXES
from services.scheduling.usecases.deps import Deps
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing
from shared.protocols import load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def wire(_settings: SchedulingSettings, _mongo: Mongo, _ring: KeyRing) -> Wiring:
    deps = Deps(protocol=load(PROTOCOLS / "visits.yaml", VisitProtocol))
    return Wiring(
        deps=deps,
        routers=[router],
        indexes=INDEXES,
        migrations=CHANGES,
        event_handlers=EVENT_HANDLERS,
        alarm_handlers=ALARM_HANDLERS,
        timer_handlers=TIMER_HANDLERS,
        republish=REPUBLISH,
    )


SERVICE = Service("scheduling", SchedulingSettings, wire)
