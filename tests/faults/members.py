"""The stack of the fault runs: three MongoDB members, and a proxy on every way from the services to their stores."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy import rights
from deploy.local import kafka_broker, mongodb, processes
from deploy.local.stack import COPIES, EXTRA_MEMBERS, Part, Report, Stack, silent
from shared.messaging.kafka import KafkaAddress
from shared.messaging.provision import ensure_topics
from shared.messaging.topics import SERVICES
from tests.faults.proxy import Proxy
from tests.support.stacks import temporary

ELECTION_SECONDS = 40.0
PARAMETERS = ("enableTestCommands=1", "shutdownTimeoutMillisForSignaledShutdown=100")
MEMBERS = ("mongod", *EXTRA_MEMBERS)
FATAL = '"s":"F"'


class ProxiedStack(Stack):
    """`ways` by name: one per member, and `kafka`. Members reach each other through their ways too."""

    def __init__(self, home: Path, proxy: Proxy) -> None:
        super().__init__(home, random_ports=True)
        self.proxy = proxy
        self.ports |= {name: processes.free_port() for name in EXTRA_MEMBERS}
        self.ways = {name: proxy.way(self.ports[name]) for name in MEMBERS}
        self.ways["kafka"] = proxy.way(self.ports["services"])
        self.preloaded: dict[str, Mapping[str, str]] = {}

    def start_stores(self, report: Report = silent) -> None:
        with report("starting MongoDB and Kafka"):
            for name in MEMBERS:
                self.start_store(name)
            hosts = [f"127.0.0.1:{self.ways[name].port}" for name in MEMBERS]
            mongodb.initiate([self.ports[name] for name in MEMBERS], hosts, self.secrets["admin"])
            self.start_store("kafka")
        rights.make_all_users(self.mongodb_uri, self.secrets)
        asyncio.run(ensure_topics(KafkaAddress(self.kafka), COPIES))
        asyncio.run(rights.grant(self.kafka))

    def start_store(self, name: str) -> None:
        """A member or the broker, under its name, on what it had stored."""
        if name in MEMBERS:
            mongodb.launch(self.home, name, self.ports[name], *PARAMETERS)
            return
        ports = {**self.ports, "services-advertised": self.ways["kafka"].port}
        kafka_broker.start(self.home, self.cache, ports, {service: self.secrets[service] for service in SERVICES})

    @property
    def mongodb_uri(self) -> str:
        hosts = ",".join(f"127.0.0.1:{self.ports[name]}" for name in MEMBERS)
        return f"mongodb://admin:{self.secrets['admin']}@{hosts}/?replicaSet=rs0&authSource=admin"

    def environment(self, service: str, part: Part | None = None) -> dict[str, str]:
        """The stores by their ways; with what a single part was preloaded with."""
        found = super().environment(service, part)
        prefix = service.upper()
        for name in (f"{prefix}_MONGODB_URI", f"{prefix}_MONGODB_MIGRATE_URI"):
            for member in MEMBERS:
                found[name] = found[name].replace(f":{self.ports[member]}", f":{self.ways[member].port}")
        found[f"{prefix}_KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{self.ways['kafka'].port}"
        return found | dict(self.preloaded.get(part.name, {}) if part else {})

    def member(self, name: str) -> MongoClient[Any]:
        """The administrator at one member, past every proxy."""
        return mongodb.direct(self.ports[name], f"admin:{self.secrets['admin']}@")

    def primary(self) -> str:
        """The member that says it is, as soon as there is one. Raises StackError when there is none in time."""
        port = mongodb.primary([self.ports[name] for name in MEMBERS], ELECTION_SECONDS)
        return next(name for name in MEMBERS if self.ports[name] == port)

    def is_whole(self) -> bool:
        """Whether every member is one that a majority can count on: the primary or a secondary, and none that catches up."""
        with contextlib.suppress(PyMongoError), self.member(self.primary()) as client:
            status = client.admin.command("replSetGetStatus")
            return all(member["stateStr"] in {"PRIMARY", "SECONDARY"} for member in status["members"])
        return False

    def trouble(self) -> str:
        """Of each member what it says of itself, or that its process has ended and what it said last of a fatal fault."""
        said = []
        for name in MEMBERS:
            with contextlib.suppress(PyMongoError), self.member(name) as client:
                members = client.admin.command("replSetGetStatus")["members"]
                said.append(f"{name} sees {[member['stateStr'] for member in members]}")
                continue
            runs = "runs" if processes.running(self.home, name) else "has ended"
            lines = (self.home / "log" / f"{name}.log").read_text(errors="replace").splitlines()
            said.append(f"{name} {runs}, {[line[:400] for line in lines if FATAL in line][-2:]}")
        return "; ".join(said)


@contextlib.contextmanager
def proxied_stack() -> Iterator[ProxiedStack]:
    """Api and worker apart, one of each."""
    with (
        Proxy() as proxy,
        temporary(lambda home: ProxiedStack(home, proxy), lambda stack: stack.up(replicas=1)) as stack,
    ):
        yield stack
