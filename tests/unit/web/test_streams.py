"""Streams have places of their own, end when their reader is gone, and are framed as server-sent events."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from typing import Any

from shared.web.limits import Limits
from shared.web.paths import NO_PATH
from shared.web.streams import EventStream, frame
from tests.support.eventually import eventually

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}


class Wire:
    """One connection as a server gives it to an application."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.blocked = False
        self._begun = False

    async def receive(self) -> dict[str, Any]:
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.blocked:
            await asyncio.Event().wait()
        self.sent.append(message)


async def ticking() -> AsyncGenerator[bytes, None]:
    yield b"event: x\ndata: 1\n\n"
    await asyncio.Event().wait()


async def begun(wire: Wire) -> None:
    async def two() -> bool:
        return len(wire.sent) >= 2

    await eventually(two)


def test_a_frame_is_one_event_with_its_position() -> None:
    made = frame("alarm", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, "82AB")
    assert made == b'event: alarm\nid: 82AB\ndata: {"at":"2026-01-01T00:00:00.000Z"}\n\n'
    assert b"\n" not in frame("x", {"text": "a\nb"})[10:-2]


async def test_it_ends_when_its_reader_is_gone() -> None:
    wire, ended = Wire(), asyncio.Event()
    answer = EventStream(ticking(), asyncio.Event(), ended.set)
    running = asyncio.create_task(answer(SCOPE, wire.receive, wire.send))
    await begun(wire)
    wire.gone.set()
    await asyncio.wait_for(running, 5)
    assert ended.is_set()


async def test_it_is_cut_though_its_reader_takes_nothing() -> None:
    wire, cut = Wire(), asyncio.Event()
    wire.blocked = True
    running = asyncio.create_task(EventStream(ticking(), cut)(SCOPE, wire.receive, wire.send))
    cut.set()
    await asyncio.wait_for(running, 5)
    assert wire.sent == []


async def test_a_stream_that_ends_by_itself_is_whole() -> None:
    async def one() -> AsyncGenerator[bytes, None]:
        yield b"event: bye\ndata: {}\n\n"

    wire = Wire()
    await EventStream(one(), asyncio.Event())(SCOPE, wire.receive, wire.send)
    assert [message.get("more_body") for message in wire.sent] == [None, True, False]
    headers = dict(wire.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in headers


def places(limits: Limits) -> Iterator[int]:
    yield limits._ordinary._value
    yield limits._streams._value


async def test_open_streams_take_no_place_of_ordinary_requests() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await EventStream(ticking(), asyncio.Event())(scope, receive, send)

    limits = Limits(app, NO_PATH, stream_paths=re.compile("/stream"), in_flight=1, streams=2)
    wires = [Wire(), Wire()]
    scope = SCOPE | {"path": "/stream"}
    running = [asyncio.create_task(limits(dict(scope), wire.receive, wire.send)) for wire in wires]
    await asyncio.gather(*(begun(wire) for wire in wires))
    assert list(places(limits)) == [1, 0]
    third = Wire()
    await limits(dict(scope), third.receive, third.send)
    assert third.sent[0]["status"] == 503
    for wire in wires:
        wire.gone.set()
    await asyncio.wait_for(asyncio.gather(*running), 5)
    assert list(places(limits)) == [1, 2]
