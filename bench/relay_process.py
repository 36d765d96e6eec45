"""A relay as a worker runs it, on a database of the bench's own: `python -m bench.relay_process URI DATABASE KAFKA`."""

import asyncio
import signal
import sys

import uvloop

from shared.clock import SystemClock
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.relay import Relay
from shared.messaging.wake import OutboxWatch
from shared.persistence.lease import Lease
from shared.persistence.mongo import Mongo


async def main(uri: str, database: str, kafka: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    mongo = Mongo(uri, database, SystemClock())
    relay = Relay(mongo, "bulk", Lease(mongo, "relay.bulk", "bench"), lambda: new_producer(KafkaAddress(kafka), "b"))
    await asyncio.gather(relay.run(stop), OutboxWatch(mongo, [relay]).run(stop))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:4]))
