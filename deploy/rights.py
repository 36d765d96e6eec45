"""Who may do what in the stores, for the local stack and the containers alike: one user per service, nothing of a sibling's."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from pymongo import MongoClient

from shared.messaging.topics import SERVICES, TOPICS, group_for
from shared.persistence.indexes import INSERT_ONLY, PLUMBING_INDEXES

READ_WRITE = ["find", "insert", "update", "remove", "changeStream"]
_TOPIC, _GROUP, _LITERAL, _ALLOW = 2, 3, 3, 3
_READ, _WRITE, _DESCRIBE, _DESCRIBE_CONFIGS = 3, 4, 8, 10


def make_all_users(uri: str, passwords: Mapping[str, str]) -> None:
    """Users of all services; `passwords` by user name (`intake`, `intake-migrate`, ...). May run again."""
    for service in SERVICES:
        own = importlib.import_module(f"services.{service}.store").INDEXES
        make_users(uri, service, [*PLUMBING_INDEXES, *own], passwords)


def make_users(uri: str, service: str, collections: Iterable[str], passwords: Mapping[str, str]) -> None:
    """The service's user (own collections; audit is insert and find only) and the owner that `migrate` uses."""
    privileges: list[dict[str, Any]] = [
        {
            "resource": {"db": service, "collection": name},
            "actions": ["find", "insert"] if name in INSERT_ONLY else READ_WRITE,
        }
        for name in sorted(collections)
    ]
    # One change stream over its whole database (the board); what can be read by it can be read anyhow.
    whole = ["listCollections", "find", "changeStream"]
    privileges.append({"resource": {"db": service, "collection": ""}, "actions": whole})
    with MongoClient[Any](uri) as client:
        database = client[service]
        known = {row["role"] for row in database.command("rolesInfo")["roles"]}
        verb = "updateRole" if "service" in known else "createRole"
        database.command(verb, "service", privileges=privileges, roles=[])
        for user, role in ((service, "service"), (f"{service}-migrate", "dbOwner")):
            exists = database.command("usersInfo", user)["users"]
            database.command("updateUser" if exists else "createUser", user, pwd=passwords[user], roles=[role])


async def grant(bootstrap_servers: str) -> None:
    """Each service may write its own topics, read those it consumes, and use its own groups; nothing else."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        for topic in TOPICS:
            await _allow(admin, _TOPIC, topic.name, topic.producer, _WRITE)
            for reader in topic.readers:
                await _allow(admin, _TOPIC, topic.name, reader, _READ)
            for service in {topic.producer, *topic.readers}:
                await _allow(admin, _TOPIC, topic.name, service, _DESCRIBE_CONFIGS)
        for service in SERVICES:
            for lane in ("bulk", "alarm"):
                await _allow(admin, _GROUP, group_for(service, lane), service, _READ)
    finally:
        await admin.close()


async def _allow(admin: AIOKafkaAdminClient, kind: int, name: str, service: str, operation: int) -> None:
    for allowed in (operation, _DESCRIBE):
        request = CreateAclsRequest(kind, name, _LITERAL, f"User:{service}", "*", allowed, _ALLOW)
        await admin._send_request(request)  # noqa: SLF001 - aiokafka has the request but no public method yet
