"""`python -m deploy.compose.init`: topics, permissions and database users of the containers; may run again at any time.

The broker's SCRAM users are made by `kafka/users.sh`, for only Kafka's own tool can.
"""

import asyncio
import os
import re
import sys
from collections.abc import Mapping

from deploy.rights import grant, make_all_users
from shared.messaging.kafka import KafkaAddress
from shared.messaging.provision import Copies, ensure_topics, topic_faults
from shared.messaging.topics import SERVICES

_COPIES = ("KAFKA_REPLICATION_FACTOR", "KAFKA_MIN_INSYNC_REPLICAS")
_SETTINGS = ("MONGODB_ADMIN_URI", "KAFKA_OPERATOR_BOOTSTRAP_SERVERS", *_COPIES)


def passwords(env: Mapping[str, str]) -> dict[str, str]:
    """By user name, from `INTAKE_MONGODB_PASSWORD`, `INTAKE_MIGRATE_PASSWORD` and so on."""
    own = {name: env[f"{name.upper()}_MONGODB_PASSWORD"] for name in SERVICES}
    return own | {f"{name}-migrate": env[f"{name.upper()}_MIGRATE_PASSWORD"] for name in SERVICES}


def missing(env: Mapping[str, str]) -> list[str]:
    kinds = ("MONGODB_PASSWORD", "MIGRATE_PASSWORD")
    wanted = [*_SETTINGS, *(f"{name.upper()}_{kind}" for name in SERVICES for kind in kinds)]
    return [name for name in wanted if not env.get(name)]


def faults(env: Mapping[str, str]) -> list[str]:
    """One line for each setting that is missing or no number."""
    absent = [f"{name}: field required" for name in missing(env)]
    wrong = [name for name in _COPIES if env.get(name) and not re.fullmatch("[1-9][0-9]?", env[name])]
    return absent + [f"{name}: must be a number of brokers" for name in wrong]


async def init(env: Mapping[str, str]) -> None:
    """Exits with 1 and names every topic that is there already and falls short of what is asked for."""
    broker = env["KAFKA_OPERATOR_BOOTSTRAP_SERVERS"]
    address = KafkaAddress(broker)
    copies = Copies(*(int(env[name]) for name in _COPIES))
    made = await ensure_topics(address, copies)
    if short := await topic_faults(address, copies):
        sys.exit("\n".join(str(fault) for fault in short))
    await grant(broker)
    await asyncio.to_thread(make_all_users, env["MONGODB_ADMIN_URI"], passwords(env))
    sys.stdout.write(f"{len(made)} topics made; permissions and users of {', '.join(SERVICES)} are set\n")


def main() -> None:
    """Exit code 2 names every setting that is at fault."""
    if found := faults(os.environ):
        sys.stderr.write("".join(f"{fault}\n" for fault in found))
        sys.exit(2)
    asyncio.run(init(os.environ))


if __name__ == "__main__":
    main()
