"""The only place of monitoring that names concrete classes."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from services.monitoring.beats import Beats
from services.monitoring.board_beats import HeardBeats
from services.monitoring.board_stream import Board
from services.monitoring.charts import Charts
from services.monitoring.evaluator import Evaluator
from services.monitoring.handlers import EVENT_HANDLERS
from services.monitoring.ingest import Ingest
from services.monitoring.limits import LimitSet, Rule
from services.monitoring.memory import Memory
from services.monitoring.model import SessionProtocol
from services.monitoring.republish import REPUBLISH
from services.monitoring.routes import router
from services.monitoring.routes.edge import Edge, Login
from services.monitoring.settings import MonitoringSettings
from services.monitoring.store import INDEXES
from services.monitoring.usecases.deps import Deps
from shared.ids import new_id
from shared.loops import Loop
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, Vault
from shared.protocols import ProtocolError, load
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


def protocols() -> dict[str, SessionProtocol]:
    """Every route's protocol by version. Raises ProtocolError for content that is not valid."""
    found = [load(path, SessionProtocol) for path in sorted(PROTOCOLS.glob("*.yaml"))]
    return {protocol.version: protocol for protocol in found}


def rules() -> dict[str, Sequence[Rule]]:
    """The rules of every set of limits by version. Raises ProtocolError."""
    found = [load(path, LimitSet) for path in sorted((PROTOCOLS / "limits").glob("*.yaml"))]
    return {limit_set.version: limit_set.rules for limit_set in found}


def make_deps(ring: KeyRing) -> Deps:
    """Raises ProtocolError, also for a protocol that names limits which do not exist."""
    deps = Deps(vault=Vault(ring), protocols=protocols(), rules=rules())
    for protocol in deps.protocols.values():
        if protocol.limits not in deps.rules:
            raise ProtocolError(f"{protocol.version}: limits: there is no {protocol.limits}")
    return deps


def _beats_reader(address: KafkaAddress) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(client_id="monitoring.beats", auto_offset_reset="latest", **address.options())


def wire(settings: MonitoringSettings, mongo: Mongo, ring: KeyRing) -> Wiring:
    deps = make_deps(ring)
    memory = Memory(mongo, deps)
    holder = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    address = KafkaAddress.of(settings)
    beats = Beats(mongo.clock, memory, holder, lambda: new_producer(address, "monitoring.beats"))
    evaluator = Evaluator(mongo, deps, memory, holder)
    heard = HeardBeats(mongo.clock, lambda: _beats_reader(address))
    board, charts = Board(mongo, deps, memory, heard), Charts()
    login = Login(settings.oidc_issuer, settings.board_client_id)
    return Wiring(
        deps=deps,
        http_deps=Edge(deps, Ingest(mongo, deps, memory), memory, board, charts, login),
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        background={"ticks": Loop.of(evaluator)},
        everywhere={"memory": Loop.of(memory), "beats": Loop.of(beats)},
        serving={"board": Loop.of(board), "board.beats": Loop.of(heard), "charts": Loop.of(charts)},
        serves_without_store=True,
        republish=REPUBLISH,
    )


SERVICE = Service("monitoring", MonitoringSettings, wire)
