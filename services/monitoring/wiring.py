"""The only place of monitoring that names concrete classes."""

from pathlib import Path

from services.monitoring.handlers import EVENT_HANDLERS
from services.monitoring.model import SessionProtocol
from services.monitoring.routes import router
from services.monitoring.settings import MonitoringSettings
from services.monitoring.store import INDEXES
from services.monitoring.usecases import Deps
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, Vault
from shared.protocols import load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def wire(_settings: MonitoringSettings, _mongo: Mongo, ring: KeyRing) -> Wiring:
    deps = Deps(vault=Vault(ring), protocol=load(PROTOCOLS / "iv.yaml", SessionProtocol))
    return Wiring(deps=deps, routers=[router], indexes=INDEXES, event_handlers=EVENT_HANDLERS)


SERVICE = Service("monitoring", MonitoringSettings, wire)
