"""What is JSON to us, and what is not."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMedia
from shared.web import bodies
from shared.web.bodies import check_json, read_body, single_headers


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[NaN]",
        b"[Infinity]",
        b"[1e400]",
        b"[9007199254740993]",
        b"[-9007199254740993]",
        b"[123456789012345678901234567890]",
        b'["\\u0000"]',
        b'["\\u001b"]',
        b'["\\u0085"]',
        b'{"\\u0007": 1}',
        b'["\\ud800"]',
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b"\xef\xbb\xbf[]",
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        json.dumps(["x" * 20_001]).encode(),
        json.dumps([0] * 10_001).encode(),
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "\\u0061": 2}',
        b'[{"b": {"a": 1, "a" : 2}}]',
        b'{"a": "\\":", "a": 2}',
    ],
)
def test_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[" * 32 + b"]" * 32,
        b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}',
        b'{"at": "2026-01-01T10:00:00Z", "text": "he said \\"a\\": so"}',
        '{"name": "Zoë 李 \\n\\t"}'.encode(),
        b"[9007199254740992, -0.1, 1e-400]",
    ],
)
def test_taken(body: bytes) -> None:
    check_json(body)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", categories=["L", "P"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab":\\', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_a_program_writes_is_taken(value: object) -> None:
    check_json(json.dumps(value).encode())


@given(st.dictionaries(st.text('ab":\\', max_size=3), VALUES, min_size=1, max_size=4))
def test_a_name_twice_is_always_found(value: dict[str, object]) -> None:
    text = json.dumps(value)
    name = json.dumps(next(iter(value)))
    with pytest.raises(BadRequest):
        check_json((text[:-1] + f", {name}: 0}}").encode())


async def body_of(chunks: list[bytes], **headers: str) -> bytes:
    waiting = list(chunks)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return await read_body({name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}, receive)


async def test_a_body_is_bounded_however_it_comes() -> None:
    with pytest.raises(TooLarge):
        await body_of([b"x" * 65536] * 17)
    with pytest.raises(TooLarge):
        await body_of([b""], content_length=str(1024 * 1024 + 1))
    with pytest.raises(BadRequest):
        await body_of([b""], content_length="-1")
    assert await body_of([b"[1,", b"2]"]) == b"[1,2]"


async def test_what_is_not_json_is_not_read() -> None:
    for headers in ({"content_type": "text/xml"}, {"content_encoding": "gzip"}):
        with pytest.raises(UnsupportedMedia):
            await body_of([b"[]"], **headers)
    with pytest.raises(BadRequest):
        await body_of([b"{"], content_type="application/merge-patch+json")
    assert await body_of([b"a=1"], content_type="application/x-www-form-urlencoded") == b"a=1"


async def test_who_sends_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)

    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(RequestTimeout):
        await read_body({}, never)


def test_a_header_of_ours_comes_once() -> None:
    assert single_headers([(b"accept", b"a"), (b"accept", b"b"), (b"if-match", b"c")])[b"if-match"] == b"c"
    for name in (b"authorization", b"idempotency-key", b"if-match", b"clinic-id", b"content-type", b"publishable-key"):
        with pytest.raises(BadRequest):
            single_headers([(name, b"a"), (name, b"a")])
