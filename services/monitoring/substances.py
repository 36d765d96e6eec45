"""The log of controlled substances as CSV (21 CFR 1304.22(c), clinical.md 7): what was given and what was wasted. Pure."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from services.monitoring.timeline import REPEAT, present, root_of
from shared.events.envelope import rfc3339
from shared.persistence.mongo import Document

COLUMNS = (
    *("at", "recorded_at", "entry_id", "kind", "medication", "amount_mg", "lot", "expiry", "device_no"),
    *("patient_id", "session_id", "by", "checked_by", "witness", "status", "corrects", "recorded_by", "given_mg"),
)
KINDS = ("dose", "waste")
STOP = "dose_stopped"
Status = Literal["counts", "corrected", "moved", "error"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def day_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """The day's first moment in the clinic's time zone, and the next day's."""
    found = ZoneInfo(zone)
    return tuple(datetime.combine(day + timedelta(days=number), time(), found) for number in (0, 1))  # type: ignore[return-value]


def as_csv(entries: Iterable[Document], beside: Iterable[Document], patients: dict[str, str]) -> str:
    """One line per entry in the order of `at`, none left out: `status` says which of them count.

    `entries` are doses, waste and their corrections; `beside` whatever else was written of these in their sessions;
    `patients` by session. `by` gave it, `recorded_by` wrote the line: the law asks for the former, and whoever moves or
    corrects an entry did not give the dose. `given_mg` of a dose's `amount_mg` had run in when it was stopped, where the
    stop told it. A text that a spreadsheet would compute is quoted.
    """
    shown = sorted(entries, key=lambda row: (row["occurred_at"], row["_id"]))
    known = {row["_id"]: row for row in (*beside, *shown)}
    told = _told_by_stops(known.values())
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for entry in shown:
        row = _line(entry, known) | {"patient_id": patients[entry["session_id"]]}
        row["given_mg"] = next((told[one["_id"]] for one in _back(entry, known) if one["_id"] in told), None)
        writer.writerow({name: _safe(value) for name, value in row.items()})
    return out.getvalue()


def given_in_all(written: Collection[Document]) -> float:
    """What the patient of one session had in mg, of a dose that was stopped what had run in, where the stop told it."""
    told = _told_by_stops(written)
    doses = [row for row in present(written) if row["kind"] == "dose"]
    total: float = sum(told.get(dose["_id"], dose["facts"]["amount_mg"]) for dose in doses)
    return total


def _line(entry: Document, known: Mapping[str, Document]) -> Document:
    return {
        **_now(entry),
        "at": rfc3339(entry["occurred_at"]),
        "recorded_at": rfc3339(entry["recorded_at"]),
        "entry_id": entry["_id"],
        "kind": _kind(entry),
        "session_id": entry["session_id"],
        "by": _giver(entry, known),
        "recorded_by": entry["by"],
        "status": status(entry, known.values()),
        "corrects": _before(entry),
    }


def _now(entry: Document) -> Document:
    """What it says: a correction says the whole of what it corrects."""
    return {**entry["facts"], **entry["facts"].get("now", {})}


def _before(entry: Document) -> str | None:
    """The entry that it stands for: the one that it corrects, or the one that was moved here."""
    told: str | None = entry["facts"].get("corrects") or entry["facts"].get("moved_entry")
    return told


def _back(entry: Document, known: Mapping[str, Document]) -> Iterator[Document]:
    """From an entry to the one that was written when it happened, as far as they are known."""
    row: Document | None = entry
    while row is not None:
        yield row
        row = known.get(_before(row) or "")


def _giver(entry: Document, known: Mapping[str, Document]) -> str:
    """Who gave it: what was moved or corrected before that was kept is of whoever wrote the first entry."""
    chain = list(_back(entry, known))
    told = (_now(row).get("given_by") for row in chain)
    giver: str = next((name for name in told if name is not None), chain[-1]["by"])
    return giver


def _told_by_stops(written: Collection[Document]) -> dict[str, float]:
    """By dose what had run in when it was stopped: a stop is of its session's newest dose of then.

    A later one is the end, and what was told with the one before is not what was given.
    """
    doses = [row for row in written if _kind(row) == "dose" and status(row, written) != "corrected"]
    stops = [row for row in written if row["kind"] == STOP]
    told: dict[str, Document] = {}
    for stop in sorted(stops, key=lambda row: (row["recorded_at"], row["_id"])):
        place, at = stop["session_id"], stop["occurred_at"]
        before = [dose for dose in doses if dose["session_id"] == place and dose["occurred_at"] <= at]
        if not before:
            continue
        root = root_of(max(before, key=lambda row: (row["occurred_at"], row["_id"])))
        if "given_mg" in stop["facts"] or (root in told and at > told[root]["occurred_at"] + REPEAT):
            told[root] = stop
    return {root: stop["facts"]["given_mg"] for root, stop in told.items() if "given_mg" in stop["facts"]}


def _kind(entry: Document) -> str:
    kind: str = entry["facts"].get("corrected_kind", entry["kind"])
    return kind


def status(entry: Document, later: Iterable[Document]) -> Status:
    """Whether the line counts: it does not when it was an error, moved to whom it belongs, or said better afterwards."""
    root, order = root_of(entry), (entry["recorded_at"], entry["_id"])
    if entry["facts"].get("entered_in_error"):
        return "error"
    for other in later:
        if (
            root in (other["facts"].get("moves"), other["facts"].get("corrects"))
            and (other["recorded_at"], other["_id"]) > order
        ):
            return "moved" if "moves" in other["facts"] else "corrected"
    return "counts"


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
