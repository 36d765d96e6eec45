"""Readings of one sign in ten minutes as columns, a day after the session; and the rows again. Pure.

An ordinary row costs its time, its value, its device's number and its delay; what few rows have (flags, another unit) is
kept beside the columns, by place. The id is made of session, sign, time and device, so it needs no column of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

Document = dict[str, Any]
SPAN = timedelta(minutes=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_COLUMNS = frozenset(
    {"_id", "schema_version", "clinic_id", "session_id", "sign", "value", "device", "taken_at", "received_at", "unit"}
)


@lru_cache(maxsize=1024)
def milliseconds(moment: datetime) -> int:
    """Since 1970; the signs of one moment come together."""
    return (moment - EPOCH) // _MS


def reading_id(session_id: str, sign: str, taken_at: datetime, device: str) -> str:
    """The same reading has the same id; in the order of the ids a session's signs lie together, each by its time."""
    return f"{session_id}.{sign}.{milliseconds(taken_at):013d}.{device}"


def conflict_id(identifier: str, value: float) -> str:
    """The same moment with another value."""
    return f"{identifier}~{float(value)!r}"


def span_of(moment: datetime) -> datetime:
    """The beginning of the ten minutes in which it lies."""
    return EPOCH + (moment - EPOCH) // SPAN * SPAN


def bucket_id(session_id: str, sign: str, start: datetime) -> str:
    return f"{session_id}.{sign}.{milliseconds(start):013d}"


def fold(rows: Sequence[Document], bucket: Document | None = None) -> Document:
    """Rows of one session and sign within ten minutes, and those of the bucket that is there already; of these none is lost."""
    return _columns(joined(unfold(bucket) if bucket else (), rows))


def refold(rows: Iterable[Document], bucket: Document) -> Document:
    """The bucket with rows of it as they are now."""
    return _columns(({row["_id"]: row for row in unfold(bucket)} | {row["_id"]: row for row in rows}).values())


def joined(folded: Iterable[Document], hot: Iterable[Document]) -> list[Document]:
    """All of both. A hot row that says something else than its folded namesake is a conflict, and stands beside it."""
    known = {row["_id"]: row for row in folded}
    for row in hot:
        own = _beside(row, known.get(row["_id"]))
        there = known.get(own["_id"])
        if there is None or _later(own, there):
            known[own["_id"]] = own
    return list(known.values())


def _beside(hot: Document, folded: Document | None) -> Document:
    if folded is None or folded["value"] == hot["value"]:
        return hot
    return {**hot, "_id": conflict_id(hot["_id"], hot["value"]), "conflict": True}


def _later(hot: Document, folded: Document) -> bool:
    """Whether of two rows of one reading the hot one is what people made of it since; a repetition knows of no decision."""
    if "moved_to" in folded:
        return "moved_from" in hot
    return "decision" not in folded or not {"decision", "moved_to"}.isdisjoint(hot)


def _columns(rows: Iterable[Document]) -> Document:
    ordered = sorted(rows, key=lambda row: (row["taken_at"], row["_id"]))
    first = ordered[0]
    start = span_of(first["taken_at"])
    devices = sorted({row["device"] for row in ordered})
    unit = first["unit"]
    rest = {str(place): kept for place, row in enumerate(ordered) if (kept := _rest(row, unit))}
    return {
        "_id": bucket_id(first["session_id"], first["sign"], start),
        "schema_version": 1,
        **{name: first[name] for name in ("clinic_id", "session_id", "sign")},
        "unit": unit,
        "start": start,
        "devices": devices,
        "at_ms": [(row["taken_at"] - start) // _MS for row in ordered],
        "value": [row["value"] for row in ordered],
        "device": [devices.index(row["device"]) for row in ordered],
        "delay_ms": [(row["received_at"] - row["taken_at"]) // _MS for row in ordered],
        **({"rest": rest} if rest else {}),
    }


def _rest(row: Mapping[str, Any], unit: str) -> Document:
    found = {name: kept for name, kept in row.items() if name not in _COLUMNS}
    if row["unit"] != unit:
        found["unit"] = row["unit"]
    if row["_id"] != reading_id(row["session_id"], row["sign"], row["taken_at"], row["device"]):
        found["_id"] = row["_id"]
    return found


def unfold(bucket: Mapping[str, Any]) -> Iterator[Document]:
    """The rows as they were, in order."""
    session_id, sign, start, rest = bucket["session_id"], bucket["sign"], bucket["start"], bucket.get("rest", {})
    columns = (bucket[name] for name in ("at_ms", "value", "device", "delay_ms"))
    for place, (at_ms, value, number, delay_ms) in enumerate(zip(*columns, strict=True)):
        taken_at, device = start + timedelta(milliseconds=at_ms), bucket["devices"][number]
        yield {
            "_id": reading_id(session_id, sign, taken_at, device),
            "schema_version": 1,
            "clinic_id": bucket["clinic_id"],
            "session_id": session_id,
            "sign": sign,
            "value": value,
            "unit": bucket["unit"],
            "device": device,
            "taken_at": taken_at,
            "received_at": taken_at + timedelta(milliseconds=delay_ms),
            **rest.get(str(place), {}),
        }
