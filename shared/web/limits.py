"""Pure ASGI: admission, the body's check, one span around the request, and the fields that every answer carries."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator

from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import StillwaterError, Unavailable
from shared.telemetry.metrics import HTTP_REQUESTS
from shared.telemetry.tracing import current_traceparent, request_span
from shared.web.bodies import again, read_body, single_headers
from shared.web.nurse import NURSE
from shared.web.paths import NO_PATH
from shared.web.problems import problem_response
from shared.web.rates import RATE_FIELDS

log = logging.getLogger(__name__)

TRACEPARENT = "stillwater.traceparent"  # of the server span: an event is its child, not the framework's inner spans'
IN_FLIGHT = 64
NURSE_IN_FLIGHT = 256
NURSE_WAIT_SECONDS = 5.0
STREAMS = 256


class Limits:
    """Ordinary requests above the bound are refused at once; a nurse's have places of their own and wait for one.

    A body that a nurse's route is still waiting for takes no place: nobody can hold them by sending slowly. Streams, which
    go on for minutes, have places of their own too.
    """

    def __init__(
        self,
        app: ASGIApp,
        nurse_paths: re.Pattern[str],
        lines_paths: re.Pattern[str] = NO_PATH,
        stream_paths: re.Pattern[str] = NO_PATH,
        in_flight: int = IN_FLIGHT,
        nurses: int = NURSE_IN_FLIGHT,
        streams: int = STREAMS,
    ) -> None:
        self._app, self._nurse_paths = app, nurse_paths
        self._lines_paths, self._stream_paths = lines_paths, stream_paths
        self._ordinary, self._nurses = asyncio.Semaphore(in_flight), asyncio.Semaphore(nurses)
        self._streams = asyncio.Semaphore(streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        traceparent = given.get(b"traceparent", b"").decode("ascii", "ignore") or None
        with request_span(scope["method"], traceparent, known=b"authorization" in given) as span:
            scope[TRACEPARENT] = current_traceparent()
            scope[NURSE] = scope["method"] == "POST" and self._nurse_paths.fullmatch(scope["path"]) is not None
            answered = _Answer(send, scope, span)
            try:
                await self._admit(scope, receive, answered)
            except StillwaterError as error:
                await problem_response(error, nurse=scope[NURSE])(scope, receive, answered)
            except Exception as error:
                log.error("http.unhandled", extra={"error": type(error).__name__})
                if answered.begun:
                    raise
                # Here and not in the framework's outermost layer, past which nothing counts the answer.
                await problem_response(StillwaterError())(scope, receive, answered)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = single_headers(scope["headers"])
        lines = self._lines_paths.fullmatch(scope["path"]) is not None
        if scope[NURSE]:
            body = await read_body(headers, receive, lines=lines)
            async with _place(self._nurses, NURSE_WAIT_SECONDS):
                await self._app(scope, again(body, receive), send)
            return
        stream = scope["method"] == "GET" and self._stream_paths.fullmatch(scope["path"]) is not None
        async with _place(self._streams if stream else self._ordinary, 0):
            body = await read_body(headers, receive, lines=lines)
            await self._app(scope, again(body, receive), send)


@contextlib.asynccontextmanager
async def _place(pool: asyncio.Semaphore, wait_s: float) -> AsyncIterator[None]:
    """Raises Unavailable when there is none within the time."""
    if pool.locked():
        try:
            async with asyncio.timeout(wait_s):
                await pool.acquire()
        except TimeoutError:
            raise Unavailable("Too many requests are being answered; try again.") from None
    else:
        await pool.acquire()
    try:
        yield
    finally:
        pool.release()


class _Answer:
    """Passes the answer on; names the span by its route, counts it, and adds the RateLimit fields."""

    def __init__(self, send: Send, scope: Scope, span: Span) -> None:
        self._send, self._scope, self._span = send, scope, span
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            route = getattr(self._scope.get("route"), "path", "unmatched")
            method, status = self._scope["method"], message["status"]
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
            self._span.set_attribute("http.response.status_code", status)
            HTTP_REQUESTS.labels(method, route, str(status)).inc()
            if RATE_FIELDS in self._scope:
                message["headers"] = [*message.get("headers", ()), *self._scope[RATE_FIELDS]]
        await self._send(message)
