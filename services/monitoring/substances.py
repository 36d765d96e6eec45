"""The log of controlled substances as CSV (21 CFR 1304.22(c), clinical.md 7): what was given and what was wasted. Pure."""

import csv
import io
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.events.envelope import rfc3339
from shared.persistence.mongo import Document

COLUMNS = (
    *("at", "recorded_at", "entry_id", "kind", "medication", "amount_mg", "lot", "expiry", "device_no"),
    *("patient_id", "session_id", "by", "checked_by", "witness"),
)
KINDS = ("dose", "waste")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def day_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """The day's first moment in the clinic's time zone, and the next day's."""
    found = ZoneInfo(zone)
    return tuple(datetime.combine(day + timedelta(days=number), time(), found) for number in (0, 1))  # type: ignore[return-value]


def as_csv(entries: Iterable[Document], patients: dict[str, str]) -> str:
    """One line per entry in the order of `at`; `patients` by session. A text that a spreadsheet would compute is quoted."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for entry in sorted(entries, key=lambda row: (row["occurred_at"], row["_id"])):
        row = {
            **entry["facts"],
            **{name: entry[name] for name in ("kind", "session_id", "by")},
            "entry_id": entry["_id"],
        }
        row |= {"at": rfc3339(entry["occurred_at"]), "recorded_at": rfc3339(entry["recorded_at"])}
        row["patient_id"] = patients[entry["session_id"]]
        writer.writerow({name: _safe(value) for name, value in row.items()})
    return out.getvalue()


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
