"""Pure ASGI: what a request may be, before anything else looks at it, and one span around it."""

import asyncio
from typing import Any

import orjson
from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadRequest, StillwaterError, TooLarge, Unavailable, UnsupportedMedia
from shared.telemetry.metrics import HTTP_REQUESTS
from shared.telemetry.tracing import current_traceparent, request_span
from shared.web.problems import problem_response

BODY_BYTES = 1024 * 1024
NESTING = 32
STRING_CHARS = 20_000
LIST_ITEMS = 10_000
TRACEPARENT = "stillwater.traceparent"  # of the server span: an event is its child, not the framework's inner spans'
IN_FLIGHT = 128
NURSE_IN_FLIGHT = 128
_NURSE_VERBS = frozenset(
    {"vitals", "acknowledge", "attend", "silence", "stop", "pause", "abort", "emergency"}
) | frozenset({"observations", "interventions", "adverse-events", "leave"})


class Limits:
    """Body size, media type, JSON that is really JSON, nesting, control characters; admission pools; the server span."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pools = {False: asyncio.Semaphore(IN_FLIGHT), True: asyncio.Semaphore(NURSE_IN_FLIGHT)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"").decode("ascii", "ignore") or None
        with request_span(scope["method"], traceparent) as span:
            scope[TRACEPARENT] = current_traceparent()
            answered = _Answer(send, scope, span)
            pool = self._pools[scope["path"].rpartition("/")[2] in _NURSE_VERBS]
            try:
                if pool.locked():
                    raise Unavailable("Too many requests are being answered; try again.")
                async with pool:
                    body = await _body(headers, receive)
                    await self._app(scope, _again(body, receive), answered)
            except StillwaterError as error:
                await problem_response(error)(scope, receive, answered)


class _Answer:
    """Passes the answer on; names the span by its route and counts it."""

    def __init__(self, send: Send, scope: Scope, span: Span) -> None:
        self._send, self._scope, self._span = send, scope, span

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            route = getattr(self._scope.get("route"), "path", "unmatched")
            method, status = self._scope["method"], message["status"]
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
            self._span.set_attribute("http.response.status_code", status)
            HTTP_REQUESTS.labels(method, route, str(status)).inc()
        await self._send(message)


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES:
            raise TooLarge
        chunks.append(chunk)
        more = message.get("more_body", False)
    body = b"".join(chunks)
    media = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if body and media == b"application/json":
        check_json(body)
    elif body and media not in {b"application/merge-patch+json", b"application/x-www-form-urlencoded"}:
        raise UnsupportedMedia
    return body


def check_json(body: bytes) -> None:
    """Strict JSON: UTF-8, no NaN, no lone surrogate, bounded; raises BadRequest."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("The body is not valid JSON in UTF-8.") from None
    _check(value, 0)


def _check(value: Any, depth: int) -> None:
    if depth > NESTING:
        raise BadRequest(f"The body is nested deeper than {NESTING} levels.")
    if isinstance(value, str):
        if len(value) > STRING_CHARS or any(ord(char) < 32 and char not in "\n\r\t" for char in value):  # noqa: PLR2004
            raise BadRequest("A text is too long or holds control characters.")
    elif isinstance(value, list):
        if len(value) > LIST_ITEMS:
            raise BadRequest(f"A list has more than {LIST_ITEMS} items.")
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth + 1)
            _check(item, depth + 1)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
