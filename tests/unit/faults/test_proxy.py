"""The proxy of the fault runs does to a connection what it says."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.proxy import Proxy, Way
from tests.support.eventually import eventually


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as made:
        yield made


@pytest.fixture
async def way(proxy: Proxy) -> AsyncIterator[Way]:
    """In front of a server that answers with what it was sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield proxy.way(server.sockets[0].getsockname()[1])
    server.close()


async def ask(way: Way) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
    writer.write(b"one")
    assert await reader.read(100) == b"one"
    return reader, writer


async def silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await reader.read(100)
    except TimeoutError:
        return True
    return False


async def test_cut_resets_what_is_open_and_what_comes(way: Way) -> None:
    reader, _ = await ask(way)
    way.become("cut")
    with pytest.raises(ConnectionResetError):
        await reader.read(100)
    with pytest.raises((ConnectionError, AssertionError)):
        await ask(way)
    way.become("open")
    await ask(way)


async def test_stalled_bytes_arrive_later(way: Way) -> None:
    reader, writer = await ask(way)
    way.become("stalled")
    writer.write(b"two")
    assert await silent(reader)
    way.become("open")
    assert await reader.read(100) == b"two"


async def test_a_half_open_connection_is_never_answered_again(way: Way) -> None:
    reader, writer = await ask(way)
    way.become("half_open")
    late_reader, late_writer = await asyncio.open_connection("127.0.0.1", way.port)
    for who in (writer, late_writer):
        who.write(b"two")
    assert await silent(late_reader)
    way.become("open")
    assert await silent(reader)
    assert await silent(late_reader)
    await ask(way)


async def test_a_process_that_is_shut_out_reaches_nothing(proxy: Proxy, way: Way) -> None:
    reader, _ = await ask(way)
    proxy.shut(os.getpid())
    way.reset_of(os.getpid())
    with pytest.raises(ConnectionResetError):
        await reader.read(100)
    with pytest.raises((ConnectionError, AssertionError)):
        await ask(way)
    proxy.shut(None)

    async def through() -> bool:
        await ask(way)
        return True

    assert await eventually(through)
