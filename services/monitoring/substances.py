"""The log of controlled substances as CSV (21 CFR 1304.22(c), clinical.md 7): what was given and what was wasted. Pure."""

import csv
import io
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from services.monitoring.timeline import root_of
from shared.events.envelope import rfc3339
from shared.persistence.mongo import Document

COLUMNS = (
    *("at", "recorded_at", "entry_id", "kind", "medication", "amount_mg", "lot", "expiry", "device_no"),
    *("patient_id", "session_id", "by", "checked_by", "witness", "status", "corrects"),
)
KINDS = ("dose", "waste")
Status = Literal["counts", "corrected", "moved", "error"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def day_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """The day's first moment in the clinic's time zone, and the next day's."""
    found = ZoneInfo(zone)
    return tuple(datetime.combine(day + timedelta(days=number), time(), found) for number in (0, 1))  # type: ignore[return-value]


def as_csv(entries: Iterable[Document], later: Iterable[Document], patients: dict[str, str]) -> str:
    """One line per entry in the order of `at`, none left out: `status` says which of them count.

    `entries` are doses, waste and their corrections; `later` whatever corrects or moves one of them; `patients` by
    session. A text that a spreadsheet would compute is quoted.
    """
    out, after = io.StringIO(), list(later)
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for entry in sorted(entries, key=lambda row: (row["occurred_at"], row["_id"])):
        facts = entry["facts"]
        row = {**facts, **facts.get("now", {}), **{name: entry[name] for name in ("session_id", "by")}}
        row |= {
            "kind": facts.get("corrected_kind", entry["kind"]),
            "entry_id": entry["_id"],
            "status": status(entry, after),
        }
        row |= {"at": rfc3339(entry["occurred_at"]), "recorded_at": rfc3339(entry["recorded_at"])}
        row["patient_id"] = patients[entry["session_id"]]
        writer.writerow({name: _safe(value) for name, value in row.items()})
    return out.getvalue()


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
