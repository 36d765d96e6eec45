"""A load generator's HTTP/1.1 client: persistent connections, nothing more, so that it costs the machine little."""

import asyncio
from types import TracebackType
from typing import Self

import orjson


class Connection:
    """One connection; one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: object, token: str = "", key: str = "") -> tuple[int, bytes]:
        """Status and body. Raises OSError, asyncio.IncompleteReadError when the connection ends."""
        return await self.send("POST", path, orjson.dumps(body), token, key)

    async def send(self, method: str, path: str, content: bytes, token: str, key: str = "") -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", "host: bench", "content-type: application/json"]
        lines += [f"content-length: {len(content)}"]
        lines += [f"authorization: Bearer {token}"] if token else []
        lines += [f"idempotency-key: {key}"] if key else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        return status, await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Pool:
    """Connections that are lent; grows as needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._free:
            connection.close()

    async def post(self, path: str, body: object, token: str = "", key: str = "") -> tuple[int, bytes]:
        return await self._send("POST", path, orjson.dumps(body), token, key)

    async def get(self, path: str, token: str = "") -> tuple[int, bytes]:
        return await self._send("GET", path, b"", token, "")

    async def _send(self, method: str, path: str, content: bytes, token: str, key: str) -> tuple[int, bytes]:
        connection = self._free.pop() if self._free else Connection("127.0.0.1", self._port)
        try:
            answer = await connection.send(method, path, content, token, key)
        except (OSError, asyncio.IncompleteReadError):
            # The server closed a connection that was idle.
            connection = Connection("127.0.0.1", self._port)
            answer = await connection.send(method, path, content, token, key)
        self._free.append(connection)
        return answer
