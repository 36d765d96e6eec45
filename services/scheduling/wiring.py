"""The only place of scheduling that names concrete classes."""

from pathlib import Path

from services.scheduling.handlers import EVENT_HANDLERS, TIMER_HANDLERS
from services.scheduling.routes import router
from services.scheduling.settings import SchedulingSettings
from services.scheduling.store import INDEXES
from services.scheduling.usecases import Deps, VisitProtocol
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing
from shared.protocols import load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def wire(_settings: SchedulingSettings, _mongo: Mongo, _ring: KeyRing) -> Wiring:
    deps = Deps(protocol=load(PROTOCOLS / "visits.yaml", VisitProtocol))
    return Wiring(
        deps=deps, routers=[router], indexes=INDEXES, event_handlers=EVENT_HANDLERS, timer_handlers=TIMER_HANDLERS
    )


SERVICE = Service("scheduling", SchedulingSettings, wire)
