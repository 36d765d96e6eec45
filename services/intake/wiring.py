"""The only place of intake that names concrete classes."""

from pathlib import Path

from services.intake.handlers import EVENT_HANDLERS, TIMER_HANDLERS
from services.intake.model import ConsentProtocol, PlanProtocol, RiskProtocol
from services.intake.republish import REPUBLISH
from services.intake.routes import router
from services.intake.settings import IntakeSettings
from services.intake.store import INDEXES
from services.intake.usecases import rekeying
from services.intake.usecases.deps import Deps
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def wire(settings: IntakeSettings, _mongo: Mongo, ring: KeyRing) -> Wiring:
    deps = Deps(
        vault=Vault(ring),
        transport=TransportCipher(KeyRing(settings.transport_key_ring.get_secret_value())),
        plans=load(PROTOCOLS / "plans.yaml", PlanProtocol),
        consents=load(PROTOCOLS / "consents.yaml", ConsentProtocol),
        risk=load(PROTOCOLS / "risk.yaml", RiskProtocol),
        publishable_keys=settings.clinic_of_key(),
    )
    return Wiring(
        deps=deps,
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        timer_handlers=TIMER_HANDLERS,
        republish=REPUBLISH,
        under_transport_key=rekeying.kinds(deps),
    )


SERVICE = Service("intake", IntakeSettings, wire)
