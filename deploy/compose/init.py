"""`python -m deploy.compose.init`: topics, permissions and database users of the containers; may run again at any time.

The broker's SCRAM users are made by `kafka/users.sh`, for only Kafka's own tool can.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

from deploy.rights import grant, make_all_users
from shared.messaging.kafka import KafkaAddress
from shared.messaging.provision import Copies, ensure_topics, topic_faults
from shared.messaging.topics import SERVICES

_SETTINGS = (
    "MONGODB_ADMIN_URI",
    "KAFKA_OPERATOR_BOOTSTRAP_SERVERS",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_MIN_INSYNC_REPLICAS",
)


def passwords(env: Mapping[str, str]) -> dict[str, str]:
    """By user name, from `INTAKE_MONGODB_PASSWORD`, `INTAKE_MIGRATE_PASSWORD` and so on."""
    own = {name: env[f"{name.upper()}_MONGODB_PASSWORD"] for name in SERVICES}
    return own | {f"{name}-migrate": env[f"{name.upper()}_MIGRATE_PASSWORD"] for name in SERVICES}


def missing(env: Mapping[str, str]) -> list[str]:
    kinds = ("MONGODB_PASSWORD", "MIGRATE_PASSWORD")
    wanted = [*_SETTINGS, *(f"{name.upper()}_{kind}" for name in SERVICES for kind in kinds)]
    return [name for name in wanted if not env.get(name)]


async def init(env: Mapping[str, str]) -> None:
    """Exits with 1 and names every topic that is there already and falls short of what is asked for."""
    broker = env["KAFKA_OPERATOR_BOOTSTRAP_SERVERS"]
    address = KafkaAddress(broker)
    copies = Copies(int(env["KAFKA_REPLICATION_FACTOR"]), int(env["KAFKA_MIN_INSYNC_REPLICAS"]))
    made = await ensure_topics(address, copies)
    if faults := await topic_faults(address, copies):
        sys.exit("\n".join(str(fault) for fault in faults))
    await grant(broker)
    await asyncio.to_thread(make_all_users, env["MONGODB_ADMIN_URI"], passwords(env))
    sys.stdout.write(f"{len(made)} topics made; permissions and users of {', '.join(SERVICES)} are set\n")


def main() -> None:
    """Exit code 2 names every setting that is missing."""
    if absent := missing(os.environ):
        sys.stderr.write("".join(f"{name}: field required\n" for name in absent))
        sys.exit(2)
    asyncio.run(init(os.environ))


if __name__ == "__main__":
    main()
