"""The bare process: FastAPI, motor and aiokafka with nothing of ours; the yardstick for routes, memory and start.

`python -m bench.bare PORT MONGODB_URI KAFKA`
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

DURABLE = WriteConcern(w="majority", j=True)


class Thing(BaseModel):
    name: str
    number: int


class BareReading(BaseModel):
    session_id: str
    sign: str
    value: float
    unit: str
    taken_at: datetime
    device: str


async def collections(client: Any, database: str, *names: str) -> None:
    """Made beforehand: a transaction that meets a new collection may fail."""
    present = set(await client[database].list_collection_names())
    for name in names:
        if name not in present:
            await client[database].create_collection(name)


async def two_documents(client: Any, database: str) -> None:
    """The least that a creating request must do: one transaction, two documents, the same concerns as ours."""
    async with await client.start_session(causal_consistency=False) as session:
        session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
        await client[database].things.insert_one({"_id": uuid4().hex, "name": "x"}, session=session)
        await client[database].rows.insert_one({"_id": uuid4().hex, "value": b"x" * 300}, session=session)
        await session.commit_transaction()


def create(uri: str, kafka: str) -> FastAPI:
    client: Any = AsyncIOMotorClient(uri)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await collections(client, "bare", "things", "rows", "readings")
        producer = AIOKafkaProducer(bootstrap_servers=kafka)
        consumer = AIOKafkaConsumer("stillwater.intake.v1", bootstrap_servers=kafka, group_id="bare")
        await producer.start()
        await consumer.start()
        yield
        await consumer.stop()
        await producer.stop()

    app = FastAPI(lifespan=lifespan)

    @app.post("/things", status_code=201)
    async def make(thing: Thing) -> Thing:
        await two_documents(client, "bare")
        return thing

    @app.post("/readings", status_code=201)
    async def take(reading: BareReading) -> BareReading:
        readings = client["bare"].get_collection("readings", write_concern=DURABLE)
        await readings.insert_one(reading.model_dump())
        return reading

    @app.post("/echo")
    async def echo(thing: Thing) -> Thing:
        return thing

    return app


async def main(port: int, uri: str, kafka: str) -> None:
    config = uvicorn.Config(create(uri, kafka), "127.0.0.1", port, log_config=None, access_log=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
