"""Server-sent events: routes that answer for minutes have places of their own, and end when their reader is gone.

Pure ASGI: nothing between the route and the server buffers, and a reader that left is noticed at once.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, TypeVar

import orjson
from fastapi import Response
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from shared.events.envelope import rfc3339
from shared.web.paths import NO_PATH, pattern

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__stream_route__"
MEDIA = "text/event-stream"


def stream_route(endpoint: F) -> F:
    """Mark a GET route whose answer goes on: it takes no place among the ordinary requests (shared/web/limits.py)."""
    setattr(endpoint, _MARK, True)
    return endpoint


def stream_paths(routes: Iterable[BaseRoute]) -> re.Pattern[str]:
    """Matches the path of every marked route."""
    marked = [route for route in iter_route_contexts(list(routes)) if getattr(route.endpoint, _MARK, False)]
    return re.compile("|".join(pattern(route.path or "") for route in marked) or NO_PATH.pattern)


def frame(event: str, data: Any, position: str | None = None) -> bytes:
    """One event; `position` is what the reader sends back as Last-Event-ID."""
    line = f"id: {position}\n".encode() if position else b""
    text = orjson.dumps(data, default=rfc3339, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return b"event: " + event.encode() + b"\n" + line + b"data: " + text + b"\n\n"


class EventStream(Response):
    """Ends with `frames`, when the reader is gone, or when `cut` is set though the reader takes nothing more.

    `ended` is called once, even where no frame was ever asked for.
    """

    media_type = MEDIA

    def __init__(
        self, frames: AsyncGenerator[bytes, None], cut: asyncio.Event, ended: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(status_code=200, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames, self._cut, self._ended = frames, cut, ended

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        tasks = [asyncio.create_task(step) for step in (self._pump(send), _disconnected(receive), self._cut.wait())]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._frames.aclose()
            self._ended()
        if tasks[0] in done:
            tasks[0].result()

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with contextlib.suppress(OSError):
            async for chunk in self._frames:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True
