"""`python -m deploy.compose.init`: topics, permissions and database users of the containers; may run again at any time.

The broker's SCRAM users are made by `kafka/users.sh`, for only Kafka's own tool can.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

from deploy.rights import grant, make_all_users
from shared.messaging.topics import SERVICES
from shared.service import create_topics

_SETTINGS = ("MONGODB_ADMIN_URI", "KAFKA_OPERATOR_BOOTSTRAP_SERVERS")


def passwords(env: Mapping[str, str]) -> dict[str, str]:
    """By user name, from `INTAKE_MONGODB_PASSWORD`, `INTAKE_MIGRATE_PASSWORD` and so on."""
    own = {name: env[f"{name.upper()}_MONGODB_PASSWORD"] for name in SERVICES}
    return own | {f"{name}-migrate": env[f"{name.upper()}_MIGRATE_PASSWORD"] for name in SERVICES}


def missing(env: Mapping[str, str]) -> list[str]:
    kinds = ("MONGODB_PASSWORD", "MIGRATE_PASSWORD")
    wanted = [*_SETTINGS, *(f"{name.upper()}_{kind}" for name in SERVICES for kind in kinds)]
    return [name for name in wanted if not env.get(name)]


async def init(env: Mapping[str, str]) -> None:
    broker = env["KAFKA_OPERATOR_BOOTSTRAP_SERVERS"]
    made = await create_topics(broker)
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
