"""A page of rows that are not all in one collection."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.datastructures import URL, QueryParams

from shared.errors import BadRequest
from shared.web.paging import Page, asked
from shared.web.reply import Listing

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Shown(BaseModel):
    id: str
    sign: str


def page(query: str) -> Page:
    return asked(QueryParams(query), URL(f"http://here/v1/things?{query}"), ["sign"], lambda *parts: "-".join(parts))


def rows() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"_id": f"{number:02}", "sign": "ab"[number % 2], "taken_at": AT + timedelta(seconds=number // 2)}
        for number in range(10)
    ]
    return [{**row, "received_at": row["taken_at"] + timedelta(hours=1)} for row in made]


def show(row: dict[str, Any]) -> Shown:
    return Shown(id=row["_id"], sign=row["sign"])


def walk(query: str) -> list[list[str]]:
    """Every page, by its cursors."""
    found: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        body = page(f"{query}{more}").over(rows(), show, ("taken_at", "received_at")).body
        assert isinstance(body, Listing)
        found.append([item["id"] for item in body.items])
        cursor = body.next_cursor
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=4", [["09", "08", "07", "06"], ["05", "04", "03", "02"], ["01", "00"]]),
        ("limit=4&sort=created_at", [["00", "01", "02", "03"], ["04", "05", "06", "07"], ["08", "09"]]),
        ("limit=10&sign=a", [["08", "06", "04", "02", "00"]]),
        ("limit=10&updated_since=2026-01-01T01:00:04Z", [["09", "08"]]),
    ],
)
def test_every_row_is_on_one_page_in_order(query: str, expected: list[list[str]]) -> None:
    assert walk(query) == expected


def test_what_was_decided_about_later_has_changed_since() -> None:
    decided = [row | ({"decided_at": AT + timedelta(hours=2)} if row["_id"] == "03" else {}) for row in rows()]
    asked_for = page("updated_since=2026-01-01T01:30:00Z")
    body = asked_for.over(decided, show, ("taken_at", "received_at"), ("decided_at",)).body
    assert isinstance(body, Listing)
    assert [item["id"] for item in body.items] == ["03"]


def test_its_cursor_is_good_for_the_same_rows_alone_and_a_forged_one_for_none() -> None:
    body = page("limit=4").over(rows(), show, ("taken_at", "received_at")).body
    assert isinstance(body, Listing)
    cursor = body.next_cursor or ""
    payload, _, mac = urlsafe_b64decode(cursor).decode().rpartition("|")
    forged = (f"{payload.replace('2026', '2027')}|{mac}", f"{payload}|", payload, "")
    bad = [f"cursor={urlsafe_b64encode(text.encode()).decode()}" for text in forged]
    for query in (*bad, f"sign=a&cursor={cursor}", f"sort=created_at&cursor={cursor}", "cursor=AAAA", "cursor=\x00"):
        with pytest.raises(BadRequest):
            page(query)
