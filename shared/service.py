"""One process of one service in its role: api, worker, all, or a task of an operator."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import uvicorn
from fastapi import APIRouter
from pymongo import IndexModel
from pymongo.errors import PyMongoError

from shared.clock import Clock, ScaledClock, SystemClock
from shared.events.envelope import Lane
from shared.ids import new_id
from shared.keys import read_key
from shared.loops import Loop, Looping, Loops
from shared.messaging.backlog import Backlog
from shared.messaging.consumer import Consumer
from shared.messaging.currency import Currency
from shared.messaging.handling import Handlers, Pipeline, WithoutStore
from shared.messaging.kafka import KafkaAddress, new_consumer, new_producer
from shared.messaging.precedence import Precedence
from shared.messaging.provision import Copies, TopicWatch
from shared.messaging.redrive import LOOK_AGAIN_SECONDS, Redrive
from shared.messaging.relay import LEASE_SECONDS, Relay
from shared.messaging.republish import Rekeyed, Republish
from shared.messaging.topics import group_for, topics_of
from shared.messaging.trouble import TroubleWatch
from shared.messaging.wake import OutboxWatch
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.lease import Lease
from shared.persistence.migrations import Migration, run_migrations
from shared.persistence.mongo import Mongo
from shared.persistence.sealer import Sealer
from shared.persistence.shapes import Shapes
from shared.persistence.timers import TimerHandler, TimerRunner
from shared.persistence.vault import KeyRing
from shared.protocols import ProtocolError
from shared.settings import ServiceSettings, read_settings
from shared.web.app import create_app
from shared.web.auth import Tokens
from shared.web.health import Readiness, health_app
from shared.web.rates import Limiter
from shared.web.runtime import Runtime

READY_SECONDS = 10.0
PING_SECONDS = 2.0
REDRIVE_SECONDS = 3 * LOOK_AGAIN_SECONDS
SEAL_SECONDS = 3.0
BACKLOG = 2048
BULK_SESSION_MS, ALARM_SESSION_MS = 15_000, 6_000


@dataclass(frozen=True)
class Wiring:
    """What a service puts on the shared plumbing; made by its `wiring.wire(settings, mongo, ring)`.

    `deps` goes to handlers and timers, and to routes unless `http_deps` is given. `background` loops run in workers,
    those of `everywhere` in api processes too, those of `serving` in api processes alone. `without_store` is what the
    alarm lane does while nothing can be written; with `serves_without_store` an api process stays ready meanwhile, and
    says that it is degraded. `knows_age`: workers note how far behind what they consume is, for decisions that rest on it.
    """

    deps: Any
    routers: Sequence[APIRouter]
    indexes: Mapping[str, Sequence[IndexModel]]
    event_handlers: Handlers
    alarm_handlers: Handlers = field(default_factory=dict)
    timer_handlers: Mapping[str, TimerHandler] = field(default_factory=dict)
    http_deps: Any = None
    background: Mapping[str, Loop] = field(default_factory=dict)
    everywhere: Mapping[str, Loop] = field(default_factory=dict)
    serving: Mapping[str, Loop] = field(default_factory=dict)
    without_store: WithoutStore | None = None
    serves_without_store: bool = False
    knows_age: bool = False
    republish: Mapping[str, Republish] = field(default_factory=dict)
    under_transport_key: Mapping[str, Rekeyed] = field(default_factory=dict)
    shapes: Shapes = field(default_factory=Shapes)
    migrations: Sequence[Migration] = ()
    precedence: Precedence = field(default_factory=Precedence)


@dataclass(frozen=True)
class Service:
    name: str
    settings: Callable[[], ServiceSettings]
    wire: Callable[[Any, Mongo, KeyRing], Wiring]


class Process:
    """One process of one service."""

    def __init__(self, service: Service, settings: ServiceSettings, role: str) -> None:
        self._service, self.settings, self._role = service, settings, role
        path = settings.clinical_clock_path
        self.clock: Clock = ScaledClock(path) if path else SystemClock()
        ring = KeyRing(settings.key_ring.get_secret_value())
        self.mongo = Mongo(settings.mongodb_uri.get_secret_value(), settings.mongodb_database, self.clock)
        self.wiring = service.wire(settings, self.mongo, ring)
        self.mongo.shapes = self.wiring.shapes
        tokens = Tokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, self.clock)
        signing_key = read_key(settings.signing_key.get_secret_value())
        http_deps = self.wiring.http_deps or self.wiring.deps
        limiter = Limiter(self.clock.monotonic, settings.rate_per_minute, settings.form_rate_per_minute)
        origins = tuple(origin for origin in settings.form_origins.split(",") if origin)
        self._backlog = Backlog(self.mongo, settings.outbox_max_rows)
        self.runtime = Runtime(
            self.mongo, self.clock, ring, tokens, signing_key, http_deps, limiter, origins, self._backlog.full
        )
        copies = Copies(settings.kafka_replication_factor, settings.kafka_min_insync_replicas)
        self._topics = TopicWatch(self.clock, service.name, self._address(), copies)
        self._sealer: Sealer | None = None
        self._consumers: list[Consumer] = []
        self._draining = False
        self.loops = Loops(self.clock, self._loops())

    def _address(self) -> KafkaAddress:
        return KafkaAddress.of(self.settings)

    def _loops(self) -> dict[str, Loop]:
        if self._role not in ("api", "worker", "all"):
            return {}
        loops = {"ping": Loop.of(_Ping(self.mongo)), "topics": Loop.of(self._topics), **self.wiring.everywhere}
        if self._role != "worker":
            loops |= {"backlog": Loop.of(self._backlog), **self.wiring.serving}
        return loops if self._role == "api" else loops | self._worker_loops()

    def _worker_loops(self) -> dict[str, Loop]:
        name, wiring, holder = self._service.name, self.wiring, f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
        relays: dict[Lane, Relay] = {lane: self._relay(lane, holder) for lane in get_args(Lane)}
        found: dict[str, Looping] = {f"relay.{lane}": relay for lane, relay in relays.items()}
        sides = (("bulk", wiring.event_handlers, BULK_SESSION_MS), ("alarm", wiring.alarm_handlers, ALARM_SESSION_MS))
        for lane, handlers, session_ms in sides:
            if handlers:
                found[f"consumer.{lane}"] = consumer = self._consumer(lane, handlers, session_ms)
                self._consumers.append(consumer)
        found["outbox_watch"] = OutboxWatch(self.mongo, list(relays.values()))
        found["trouble"] = TroubleWatch(self.mongo, name, self._consumers)
        key, anchors = read_key(self.settings.audit_key.get_secret_value()), self.settings.audit_anchor_path
        found["sealer"] = self._sealer = Sealer(self.mongo, name, key, anchors, Lease(self.mongo, "sealer", holder))
        if wiring.knows_age and self._consumers:
            found["currency"] = Currency(self.mongo, self._consumers)
        if wiring.timer_handlers:
            found["timers"] = TimerRunner(self.mongo, wiring.timer_handlers, wiring.deps, name)
        redrive = self.redrive(f"system:{name}")
        loops = {"redrive": Loop(redrive.known_types, lambda: redrive.last_attempt, REDRIVE_SECONDS)}
        return loops | {name: Loop.of(looping) for name, looping in found.items()} | dict(wiring.background)

    def _relay(self, lane: Lane, holder: str) -> Relay:
        lease, name = Lease(self.mongo, f"relay.{lane}", holder, LEASE_SECONDS), self._service.name
        return Relay(self.mongo, lane, lease, lambda: new_producer(self._address(), name), self.wiring.precedence)

    def _pipeline(self, lane: str, handlers: Handlers) -> Pipeline:
        name = self._service.name
        without_store = self.wiring.without_store if lane == "alarm" else None
        return Pipeline(self.mongo, name, group_for(name, lane), handlers, self.wiring.deps, without_store)

    def redrive(self, by: str) -> Redrive:
        sides = (("bulk", self.wiring.event_handlers), ("alarm", self.wiring.alarm_handlers))
        pipelines = [self._pipeline(lane, handlers) for lane, handlers in sides]
        return Redrive(self.mongo, {pipeline.group: pipeline for pipeline in pipelines}, by)

    def _consumer(self, lane: str, handlers: Handlers, session_ms: int) -> Consumer:
        name, pipeline = self._service.name, self._pipeline(lane, handlers)
        group = pipeline.group
        return Consumer(
            pipeline,
            topics_of(list(handlers)),
            lambda: new_consumer(self._address(), group, name, session_timeout_ms=session_ms),
            self.wiring.precedence,
            fuse=lane == "bulk",
        )

    def ready(self) -> Readiness:
        """Kafka is reported and never required: what was accepted waits in the outbox."""
        required, reported = {"accepting": not self._draining}, {"kafka": self._topics.answers}
        if self._role in ("api", "all"):
            known = reported if self.wiring.serves_without_store else required
            known["mongodb"] = self.clock.monotonic() - self.mongo.last_success < READY_SECONDS
        if self._role in ("worker", "all"):
            known = required if self._role == "worker" else reported
            known["consumers"] = all(consumer.joined for consumer in self._consumers)
        return Readiness(required, reported)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; then stop accepting, finish, commit, leave: each step bounded."""
        stop, settings = asyncio.Event(), self.settings
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        doors = [_listen(settings.health_host, settings.health_port)]
        servers = [_server(health_app(self.loops.alive, self.ready))]
        if self._role in ("api", "all"):
            doors.append(_listen(settings.api_host, settings.api_port))
            app = create_app(self._service.name, list(self.wiring.routers), self.runtime)
            servers.append(_server(app, drain_s=settings.drain_seconds))
        serving = [
            asyncio.create_task(server.serve(sockets=[door])) for server, door in zip(servers, doors, strict=True)
        ]
        working = self.loops.start(stop)
        await stop.wait()
        self._draining = True
        if self._role in ("api", "all"):
            # Still answering: whoever sends requests here learns from /readyz to send them elsewhere.
            await asyncio.sleep(settings.unready_seconds)
        for server in servers:
            server.should_exit = True
        await asyncio.wait([*serving, *working], timeout=settings.drain_seconds)
        if self._sealer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEAL_SECONDS):
                    await self._sealer.close()
        self.mongo.close()

    async def migrate(self) -> list[str]:
        """Indexes, then the migrations that are not recorded as finished, by a database user of its own.

        Returns the names of those. May run again at any time, and beside the services.
        """
        uri = self.settings.mongodb_migrate_uri or self.settings.mongodb_uri
        mongo = Mongo(uri.get_secret_value(), self.settings.mongodb_database, self.clock)
        mongo.shapes = self.wiring.shapes
        try:
            await mongo.build_indexes({**PLUMBING_INDEXES, **self.wiring.indexes})
            return await run_migrations(mongo, self.wiring.migrations)
        finally:
            mongo.close()


def open_process(service: Service, role: str) -> Process:
    """Wrong settings and wrong clinical content stop the program with all faults listed; exit code 2."""
    settings = read_settings(service.name, service.settings)
    try:
        return Process(service, settings, role)
    except ProtocolError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


class _Ping:
    """Keeps the age of the store's last answer true while nobody asks anything of it."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            with contextlib.suppress(PyMongoError):
                await self._mongo.ping()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PING_SECONDS)


class _Server(uvicorn.Server):
    """Signals belong to the process, not to each of its servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """Ends the program with one line when the port is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        sys.exit(f"cannot listen at {host}, port {port}: {str(error.strerror).partition(' (')[0]}")


def _server(app: Any, drain_s: int = 1) -> _Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=drain_s,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=75,
    )
    return _Server(config)
