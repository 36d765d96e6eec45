"""A whole service as its consumers know it: all its handlers with what its wiring makes, on a database of its own."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from deploy.local.stack import Stack
from shared.clock import ManualClock
from shared.events.envelope import Envelope, Event, rfc3339
from shared.ids import new_id
from shared.messaging.handling import Handlers, Pipeline
from shared.messaging.outcomes import Outcome, Retry
from shared.messaging.record import Record
from shared.messaging.topics import group_for, topic_for
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Document, Mongo
from shared.persistence.vault import KeyRing
from shared.web.examples import example
from tests.support.databases import empty_database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)  # before everything that the examples speak of


def payload_of(event: type[Event]) -> dict[str, Any]:
    schema = event.model_json_schema()
    made: dict[str, Any] = example(schema, schema)
    return made


class Listener:
    def __init__(self, service: str, mongo: Mongo, wiring: Any) -> None:
        self.mongo, self.deps = mongo, wiring.deps
        self.handlers: Handlers = {**wiring.event_handlers, **wiring.alarm_handlers}
        self._pipelines = {
            lane: Pipeline(mongo, service, group_for(service, lane), handlers, wiring.deps)
            for lane, handlers in (("bulk", wiring.event_handlers), ("alarm", wiring.alarm_handlers))
        }
        self._offset = 0

    async def hears(
        self, kind: type[Event], payload: Mapping[str, Any], clinic: str, version: int = 1
    ) -> Outcome | None:
        """What the consumer makes of it in the end: a fault that does not pass is given up, any other `Retry` holds it up."""
        self._offset += 1
        envelope = Envelope(
            id=new_id(),
            source=f"/stillwater/{kind.SERVICE}/test",
            type=kind.event_type(),
            time=rfc3339(self.mongo.clock.system_now()),
            clinic_id=clinic,
            partition_key="k",
            sequence=f"{version:010d}.0001",
        )
        value = json.dumps(payload).encode()
        record = Record(topic_for(kind).name, 0, self._offset, b"k", value, envelope.headers())
        pipeline = self._pipelines[kind.LANE]
        outcome = await pipeline.handle(record)
        return await pipeline.give_up(record) if isinstance(outcome, Retry) and outcome.fault else outcome

    async def rows(self, clinic: str) -> dict[str, list[Document]]:
        """What the service itself keeps of a clinic, whole: without the plumbing, but with the keys to its secrets."""
        names = set(await self.mongo.database.list_collection_names()) - set(PLUMBING_INDEXES)
        found = {name: await self.mongo.plumbing(name).find({"clinic_id": clinic}, sort=[("_id", 1)]) for name in names}
        found["data_keys"] = await self.mongo.plumbing("data_keys").find({"_id": {"$regex": f"^{clinic}"}})
        return {name: rows for name, rows in found.items() if rows}


@asynccontextmanager
async def listening(stores: Stack, service: str) -> AsyncIterator[Listener]:
    made = import_module(f"services.{service}.wiring").SERVICE
    indexes = import_module(f"services.{service}.store").INDEXES
    with pytest.MonkeyPatch.context() as patch:
        for name, text in stores.environment(service).items():
            patch.setenv(name, text)
        settings = made.settings()
    async with empty_database(stores.mongodb_uri, ManualClock(NOW), indexes) as mongo:
        yield Listener(service, mongo, made.wire(settings, mongo, KeyRing(settings.key_ring.get_secret_value())))
