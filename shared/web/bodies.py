"""What a request may be before anything else looks at it: its headers, its size, and JSON that is really JSON."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.types import Message, Receive

from shared.errors import BadRequest, HeadersTooLarge, RequestTimeout, TooLarge, UnsupportedMedia

BODY_BYTES = 1024 * 1024
BODY_SECONDS = 10.0
HEADER_BYTES = 32 * 1024
NESTING = 32
STRING_CHARS = 20_000
LIST_ITEMS = 10_000
NUMBER_BOUND = 2**53  # beyond it a number is not the same everywhere (RFC 7493)
_JSON = frozenset({b"application/json", b"application/merge-patch+json"})
FORM = b"application/x-www-form-urlencoded"  # of a page's button; a route that takes JSON answers it 415
LINES = b"application/x-ndjson"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_RAW_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
_SINGLE = frozenset(
    {b"authorization", b"clinic-id", b"content-length", b"content-type", b"idempotency-key", b"if-match"}
    | {b"publishable-key"}
)

_CLOSE = {"Connection": "close"}  # else the rest of the body would be read and thrown away

Headers = dict[bytes, bytes]


def single_headers(given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Raises HeadersTooLarge, and BadRequest where a header of ours comes twice: two readers would take different ones."""
    pairs = list(given)
    if sum(len(name) + len(text) for name, text in pairs) > HEADER_BYTES:
        raise HeadersTooLarge(headers=_CLOSE)
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs if name in _SINGLE]
        if len(names) != len(set(names)):
            raise BadRequest("A header is given twice.")
    return headers


async def read_body(headers: Headers, receive: Receive, *, lines: bool = False) -> bytes:
    """The whole body, checked; where `lines` may come, by whoever reads it.

    Raises TooLarge, UnsupportedMedia, BadRequest, RequestTimeout when it comes too slowly.
    """
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise BadRequest("Content-Length is not a number.")
    if len(length) > 9 or int(length) > BODY_BYTES:  # noqa: PLR2004 - digits, of more than any bound
        raise TooLarge(headers=_CLOSE)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _chunks(receive)
    except TimeoutError:
        raise RequestTimeout(headers=_CLOSE) from None
    if body:
        _check_media(headers, body, lines=lines)
    return body


async def _chunks(receive: Receive) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES:
            raise TooLarge(headers=_CLOSE)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _check_media(headers: Headers, body: bytes, *, lines: bool) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia
    media = media_type(headers.get(b"content-type", b"application/json"))
    if media in _JSON:
        if not lines:
            check_json(body)
    elif media != FORM and not (lines and media == LINES):
        raise UnsupportedMedia


def media_type(content_type: bytes) -> bytes:
    """Without its parameters."""
    return content_type.partition(b";")[0].strip().lower()


def check_json(body: bytes) -> None:
    """UTF-8, no NaN, no lone surrogate, no name twice, bounded; raises BadRequest."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("The body is not valid JSON in UTF-8.") from None
    # No text can be too long or hold a control character where there is none in the bytes and none is escaped.
    plain = len(body) <= STRING_CHARS and b"\\" not in body and _RAW_CONTROL.search(body) is None
    # Counted here as often as it is written, no name is twice; where a text holds `":` too, the slow way tells.
    if _names(value, plain=plain) != names_in(body):
        json.loads(body, object_pairs_hook=_once)


def names_in(body: bytes) -> int:
    """How often a name is written in JSON; more where a text holds the like."""
    return body.translate(None, b" \t\n\r").count(b'":')


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadRequest("An object has the same name twice.")


def _names(value: Any, *, plain: bool) -> int:
    """How many names its objects have; raises BadRequest for what is out of bounds.

    Level by level and not by recursion, and texts only where they are not `plain`: a gateway's hundred readings are
    looked at in 0.1 ms.
    """
    level, names, depth = [value], 0, 0
    while level:
        if depth == NESTING and any(type(item) in (dict, list) for item in level):
            raise BadRequest(f"The body is nested deeper than {NESTING} levels.")
        more, level = _look(level, plain=plain)
        names, depth = names + more, depth + 1
    return names


def _look(level: list[Any], *, plain: bool) -> tuple[int, list[Any]]:
    """How many names one level has, and what lies below it."""
    names, below = 0, list[Any]()
    for item in level:
        kind = type(item)
        if kind is str:
            if not plain and (len(item) > STRING_CHARS or _CONTROL.search(item)):
                raise BadRequest("A text is too long or holds control characters.")
        elif kind is dict:
            names += len(item)
            below += item.values() if plain else (*item.values(), *item)
        elif kind is list:
            if len(item) > LIST_ITEMS:
                raise BadRequest(f"A list has more than {LIST_ITEMS} items.")
            below += item
        elif item is not None and not -NUMBER_BOUND <= item <= NUMBER_BOUND:
            raise BadRequest("A number is out of range.")
    return names, below


def again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the application."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
