"""The only place of monitoring that names concrete classes."""

import os
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from services.monitoring.beats import Beats
from services.monitoring.board_beats import HeardBeats
from services.monitoring.board_stream import Board
from services.monitoring.charts import Charts
from services.monitoring.evaluator import Evaluator
from services.monitoring.handlers import ALARM_HANDLERS, EVENT_HANDLERS, TIMER_HANDLERS
from services.monitoring.ingest import Ingest
from services.monitoring.limits import LimitSet, Rule
from services.monitoring.medicines import Medicines
from services.monitoring.memory import Memory
from services.monitoring.protocol import DosingProtocol, HardBounds, SessionProtocol, model_of
from services.monitoring.republish import REPUBLISH
from services.monitoring.routes import router
from services.monitoring.routes.edge import Edge, Login
from services.monitoring.settings import MonitoringSettings
from services.monitoring.store import INDEXES
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.due import SCHEDULE_TIMERS
from shared.ids import new_id
from shared.loops import Loop
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing, Vault
from shared.protocols import ProtocolError, line_of, load, read, told
from shared.service import Service, Wiring

PROTOCOLS = Path(__file__).parent / "protocols"


@cache
def protocols() -> Mapping[str, SessionProtocol]:
    """Every route's protocol by version. Raises ProtocolError for content that is not valid."""
    paths = sorted(PROTOCOLS.glob("*.yaml"))
    found = [load(path, model_of(read(path.read_text(), told(path))[0])) for path in paths]
    return {protocol.version: protocol for protocol in found}


def limit_sets() -> dict[str, LimitSet]:
    """Every set of limits by version. Raises ProtocolError."""
    found = [load(path, LimitSet) for path in sorted((PROTOCOLS / "limits").glob("*.yaml"))]
    return {limit_set.version: limit_set for limit_set in found}


def rules() -> dict[str, Sequence[Rule]]:
    """The rules of every set of limits by version. Raises ProtocolError."""
    return {version: found.rules for version, found in limit_sets().items()}


def medicines() -> dict[str, Medicines]:
    """Every set of medicines that stand against a dose, by version. Raises ProtocolError."""
    found = [load(path, Medicines) for path in sorted((PROTOCOLS / "medicines").glob("*.yaml"))]
    return {content.version: content for content in found}


def make_deps(ring: KeyRing) -> Deps:
    """Raises ProtocolError, also for a protocol that names limits or medicines which do not exist."""
    bounds = load(PROTOCOLS / "bounds" / "hard.yaml", HardBounds)
    combinations = {version: found.combinations for version, found in limit_sets().items()}
    deps = Deps(
        Vault(ring),
        protocols(),
        rules(),
        hard_bounds=bounds,
        medicines=medicines(),
        combinations=combinations,
    )
    for protocol in deps.protocols.values():
        if protocol.limits not in deps.rules:
            raise _nowhere(protocol, "limits", protocol.limits)
        if isinstance(protocol, DosingProtocol) and protocol.medicines not in deps.medicines:
            raise _nowhere(protocol, "medicines", protocol.medicines)
    return deps


def _nowhere(protocol: SessionProtocol, field: str, name: str) -> ProtocolError:
    for path in PROTOCOLS.glob("*.yaml"):
        content, root = read(path.read_text(), told(path))
        if content["version"] == protocol.version:
            return ProtocolError(f"{told(path)}:{line_of(root, (field,))}: {field}: there is no {name}")
    raise AssertionError("a protocol comes from a file")


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
    board, charts = Board(mongo, deps, memory, heard), Charts(mongo.clock.monotonic)
    login = Login(settings.oidc_issuer, settings.board_client_id)
    return Wiring(
        deps=deps,
        http_deps=Edge(deps, Ingest(mongo, deps, memory), memory, board, charts, login),
        routers=[router],
        indexes=INDEXES,
        event_handlers=EVENT_HANDLERS,
        alarm_handlers=ALARM_HANDLERS,
        timer_handlers=TIMER_HANDLERS | SCHEDULE_TIMERS,
        background={"ticks": Loop.of(evaluator)},
        everywhere={"memory": Loop.of(memory), "beats": Loop.of(beats)},
        serving={"board": Loop.of(board), "board.beats": Loop.of(heard), "charts": Loop.of(charts)},
        serves_without_store=True,
        knows_age=True,
        republish=REPUBLISH,
    )


SERVICE = Service("monitoring", MonitoringSettings, wire)
