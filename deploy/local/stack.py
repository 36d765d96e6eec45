"""Starts and stops the embedded stack: real MongoDB, real Kafka, the companions, the four services. No Docker."""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pymongo.uri_parser import parse_uri

from deploy import rights
from deploy.local import companions, kafka_broker, login, mongodb, processes
from deploy.local.plain import NO_TLS
from deploy.local.processes import StackError
from shared.clock import ScaledClock
from shared.messaging.kafka import KafkaAddress
from shared.messaging.provision import Copies, ensure_topics
from shared.messaging.topics import SERVICES

ROOT = Path(__file__).resolve().parents[2]
CLINIC = login.CLINIC
FREE_BYTES = 2 * 1024**3
READY_SECONDS = 40.0
CLOCK_FILE = "clock.jsonl"
EXTRA_MEMBERS = ("mongod-2", "mongod-3")  # of the fault runs
STORES = ("mongod", *EXTRA_MEMBERS, "kafka")
COPIES = Copies(replication_factor=1, min_insync_replicas=1)
_FIXED = {"mongod": 27117, "operator": 29092, "services": 29093, "controller": 29094, "companions": 8090, "smtp": 8025}
_FIXED |= {name: 8001 + number for number, name in enumerate(SERVICES)}
_FIXED |= {f"{name}-health": 8101 + number for number, name in enumerate(SERVICES)}


@dataclass(frozen=True)
class Part:
    """One process of one service: `intake`, or `intake-api`, `intake-worker`, `intake-api-2` when the roles are apart."""

    name: str
    service: str
    role: str
    port: int
    health_port: int


Report = Callable[[str], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def silent(_: str) -> Iterator[None]:
    yield


class Stack:
    """One stack under `home`; with `random_ports` several may live on one machine (the tests)."""

    def __init__(self, home: Path, *, random_ports: bool = False, cache: Path | None = None) -> None:
        self.home, self.cache = home, cache or ROOT / ".local" / "cache"
        home.mkdir(parents=True, exist_ok=True)
        self.secrets = _secrets(home / "secrets.json")
        self._random = random_ports
        self.overrides: dict[str, str] = {}
        self.ports = {name: processes.free_port() for name in _FIXED} if random_ports else dict(_FIXED)
        self.parts: Sequence[Part] = [self._part(service, "all", 1, service) for service in SERVICES]

    @property
    def _given(self) -> list[str]:
        """Stores that the environment names; they are used as they are, neither started nor stopped."""
        names = {"mongod": "MONGODB_URI", "kafka": "KAFKA_BOOTSTRAP_SERVERS"}
        return [store for store, name in names.items() if os.environ.get(name)]

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.ports['companions']}"

    @property
    def kafka(self) -> str:
        return os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or f"127.0.0.1:{self.ports['operator']}"

    @property
    def mongodb_uri(self) -> str:
        own = (
            f"mongodb://admin:{self.secrets['admin']}@127.0.0.1:{self.ports['mongod']}/?replicaSet=rs0&authSource=admin"
        )
        return os.environ.get("MONGODB_URI") or own

    def now(self) -> datetime:
        """Clinical time, as the services see it."""
        return ScaledClock(self.home / CLOCK_FILE).clinical_now()

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def health_url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service + '-health']}"

    def _part(self, service: str, role: str, number: int, name: str) -> Part:
        """Further replicas listen ten ports higher each; a worker's health port is a thousand above its api's."""
        if number == 1 or not self._random:
            step = 10 * (number - 1)
            worker = 1000 if role == "worker" and not self._random else 0
            health = processes.free_port() if role == "worker" and self._random else self.ports[f"{service}-health"]
            return Part(name, service, role, self.ports[service] + step, health + step + worker)
        return Part(name, service, role, processes.free_port(), processes.free_port())

    def split(self, replicas: int) -> None:
        """From now on: api and worker as processes of their own, so many of each."""
        found = []
        for service in SERVICES:
            for role in ("api", "worker"):
                for number in range(1, replicas + 1):
                    name = f"{service}-{role}" + (f"-{number}" if number > 1 else "")
                    found.append(self._part(service, role, number, name))
        self.parts = found

    def up(self, report: Report = silent, *, replicas: int = 0) -> None:
        """`replicas`: 0 runs each service as one process. Returns at once when these roles and this code are up already.

        Stores that run are kept, the rest is started anew. Whatever goes wrong, nothing is left running. Raises
        StackError, whose text says what to do.
        """
        with report("checking disk and Java"):
            _need_disk(self.home)
            if "kafka" not in self._given:
                kafka_broker.need_java()
        if replicas:
            self.split(replicas)
        if self.is_up():
            return
        try:
            self._start(report)
        except BaseException:
            self.down()
            raise

    def _start(self, report: Report) -> None:
        self.stop_services()
        with report("checking the ports"):
            self._need_ports()
        self.start_stores(report)
        with report("starting the issuer, the sinks and the trace receiver"):
            arguments = [str(self.home), str(self.ports["companions"]), str(self.ports["smtp"])]
            processes.start(self.home, "companions", [sys.executable, "-m", "deploy.local.companions", *arguments])
            processes.wait_for_port(self.ports["companions"], self.home, "companions")
        with report("migrating the four databases"):
            self.migrate()
        with report("starting the services"):
            for part in self.parts:
                self.start_part(part)
            self._write_addresses()
        for part in self.parts:
            with report(f"waiting for {part.name}"):
                self.wait_ready(part)

    def start_stores(self, report: Report = silent) -> None:
        """Those that are neither running nor given by the environment."""
        if "mongod" not in self._given and not processes.running(self.home, "mongod"):
            with report("starting MongoDB (a replica set with one user per service)"):
                mongodb.start(self.home, self.ports["mongod"], self.secrets["admin"])
        if "kafka" not in self._given and not processes.running(self.home, "kafka"):
            with report("starting Apache Kafka 4.3 (KRaft, SASL; the first time its jars are fetched)"):
                passwords = {name: self.secrets[name] for name in SERVICES}
                kafka_broker.start(self.home, self.cache, self.ports, passwords)
        with report("creating topics, users and permissions"):
            asyncio.run(ensure_topics(KafkaAddress(self.kafka), COPIES))
            if "kafka" not in self._given:
                asyncio.run(rights.grant(self.kafka))
            rights.make_all_users(self.mongodb_uri, self.secrets)

    def start_part(self, part: Part) -> None:
        command = [sys.executable, "-m", f"services.{part.service}", part.role]
        processes.start(self.home, part.name, command, self.environment(part.service, part))

    def is_up(self) -> bool:
        """True when just these processes run, with this code, and each answers that it is ready."""
        path = self.home / "stack.json"
        started = json.loads(path.read_text()) if path.exists() else {}
        if (started.get("parts"), started.get("code")) != (self._names(), code_version()):
            return False
        with contextlib.suppress(httpx.HTTPError):
            ready = [
                httpx.get(f"{_loopback(part.health_port)}/readyz", verify=NO_TLS, timeout=1) for part in self.parts
            ]
            return all(answer.status_code == 200 for answer in ready)
        return False

    def _names(self) -> list[str]:
        return [part.name for part in self.parts]

    def down(self) -> None:
        """Services first, so that they can drain; then the rest, then the stores."""
        self.stop_services()
        processes.stop(self.home, STORES)

    def stop_services(self) -> None:
        """And the companions; the stores go on."""
        (self.home / "stack.json").unlink(missing_ok=True)
        others = [name for name in processes.names(self.home) if name not in STORES]
        processes.stop(self.home, [name for name in others if name != "companions"])
        processes.stop(self.home, ["companions"])

    def environment(self, service: str, part: Part | None = None) -> dict[str, str]:
        part = part or self._part(service, "all", 1, service)
        prefix, password = service.upper(), self.secrets[service]
        store = parse_uri(self.mongodb_uri)
        host = ",".join(f"{name}:{port}" for name, port in store["nodelist"])
        options = f"replicaSet={store['options'].get('replicaSet', 'rs0')}&authSource={service}"
        owner = f"{service}-migrate:{self.secrets[service + '-migrate']}"
        values = {
            "ENVIRONMENT": "local",
            "MONGODB_URI": f"mongodb://{service}:{password}@{host}/?{options}",
            "MONGODB_MIGRATE_URI": f"mongodb://{owner}@{host}/?{options}",
            **self._kafka_of(service),
            "KAFKA_REPLICATION_FACTOR": str(COPIES.replication_factor),
            "KAFKA_MIN_INSYNC_REPLICAS": str(COPIES.min_insync_replicas),
            "OIDC_ISSUER": self.issuer,
            "OIDC_JWKS_URL": f"{self.issuer}/jwks",
            "API_PORT": str(part.port),
            "HEALTH_PORT": str(part.health_port),
            "KEY_RING": f"k1:{self.secrets[service + '-ring']}",
            "TRANSPORT_KEY_RING": f"t1:{self.secrets['transport-ring']}",
            "SIGNING_KEY": self.secrets[service + "-signing"],
            "AUDIT_KEY": self.secrets[service + "-audit"],
            "AUDIT_ANCHOR_PATH": str(self.home / "audit" / f"{service}.jsonl"),
            "OTLP_ENDPOINT": self.issuer,
            "TRACE_RATIO": "1",
            "CLINICAL_CLOCK_PATH": str(self.home / CLOCK_FILE),
        }
        if service == "intake":
            values["PUBLISHABLE_KEYS"] = f"pk_local_demo:{CLINIC}"
        if service == "notifications":
            values |= {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self.ports["smtp"]),
                "SMS_URL": f"{self.issuer}/sink/sms",
                "PAGER_URL": f"{self.issuer}/sink/pager",
                "VOICE_URL": f"{self.issuer}/sink/voice",
                "FALLBACK_PAGER": "pager-fallback",
                "PUBLIC_URL": self.url("notifications"),
            }
        return {f"{prefix}_{name}": text for name, text in values.items()} | self.overrides

    def _kafka_of(self, service: str) -> dict[str, str]:
        """Its own user at our broker; a broker that is given has no users of ours."""
        if "kafka" in self._given:
            return {"KAFKA_BOOTSTRAP_SERVERS": self.kafka}
        servers = f"127.0.0.1:{self.ports['services']}"
        return {
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "KAFKA_USERNAME": service,
            "KAFKA_PASSWORD": self.secrets[service],
        }

    def migrate(self) -> None:
        """The four at once. Raises StackError when one fails."""
        asyncio.run(self._migrate())

    async def _migrate(self) -> None:
        jobs = []
        for service in SERVICES:
            env = {**os.environ, **self.environment(service)}
            jobs.append(
                await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.{service}", "migrate", env=env)
            )
        if any([await job.wait() for job in jobs]):
            raise StackError("A migration failed; its reason stands above.")

    def _need_ports(self) -> None:
        of_stores = {"mongod": ["mongod"], "kafka": ["operator", "services", "controller"]}
        there = [name for name in STORES if name in self._given or processes.running(self.home, name)]
        kept = [port for name in there for port in of_stores[name]]
        for name, port in self.ports.items():
            if name not in kept:
                processes.need_free_port(port, name)

    def wait_ready(self, part: Part, seconds: float = READY_SECONDS) -> None:
        """Until nothing of it is degraded either. Raises StackError when that takes longer, and when it has ended."""
        deadline, last = time.monotonic() + seconds, "no answer"
        while time.monotonic() < deadline and processes.running(self.home, part.name):
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.get(f"{_loopback(part.health_port)}/readyz", verify=NO_TLS, timeout=1)
                if answer.status_code == 200 and answer.json().get("status", "ready") == "ready":
                    return
                last = answer.text
            time.sleep(0.05)
        raise StackError(f"{part.name} is not ready ({last}); see {self.home / 'log' / (part.name + '.log')}.")

    def _write_addresses(self) -> None:
        services = {
            name: {"url": self.url(name), "health_url": self.health_url(name), "pids": self._pids(name)}
            for name in SERVICES
        }
        sinks = {name: f"{self.issuer}/{name}" for name in ("messages", "spans", "logs", "metrics")}
        addresses: dict[str, Any] = {
            "mongodb_uri": self.mongodb_uri,
            "kafka_bootstrap_servers": self.kafka,
            "services": services,
            "issuer": self.issuer,
            "sinks": sinks,
            "parts": self._names(),
            "code": code_version(),
        }
        processes.write_whole(self.home / "stack.json", json.dumps(addresses, indent=1))

    def _pids(self, service: str) -> list[int]:
        found = [processes.running(self.home, name) for name in processes.names(self.home) if name.startswith(service)]
        return [process.pid for process in found if process]

    @cached_property
    def _issuer_key(self) -> RSAPrivateKey:
        """Read once: checking a key costs more than signing with it."""
        return companions.signing_key(self.home / "issuer.pem")

    def token(self, role: str, subject: str, clinic: str = CLINIC, patient_id: str | None = None) -> str:
        return companions.make_token(self._issuer_key, self.issuer, role, clinic, subject, patient_id)


def _loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def code_version() -> str:
    """Changes with every file that a process of the stack runs or reads."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for folder in ("shared", "services", "deploy"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".html", ".js", ".css"):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _need_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES:
        raise StackError(
            f"{free / 1024**3:.1f} GB are free at {home}, 2 GB are needed. Make room: `make down`, then remove "
            f"{home / 'data'} and {home / 'log'} (what this stack has stored) or other files of yours."
        )


def _secrets(path: Path) -> dict[str, str]:
    """Made once per stack and kept, readable by the owner only; what a later version needs is added."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    made = {name: secrets.token_hex(16) for name in ("admin", *SERVICES, *(f"{name}-migrate" for name in SERVICES))}
    keys = ["transport-ring", *(f"{name}-{kind}" for name in SERVICES for kind in ("ring", "signing", "audit"))]
    made |= {name: b64encode(secrets.token_bytes(32)).decode() for name in keys}
    whole = made | known
    if whole != known:
        processes.write_whole(path, json.dumps(whole))
    return whole
