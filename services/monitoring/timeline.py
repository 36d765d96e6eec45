"""What the entries of a session say now: nothing is changed, corrections and moves name what they mean. Pure.

A correction of a correction is one more of the same entry: the newest counts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from services.monitoring.limits import Phase
from shared.persistence.mongo import Document

REPEAT = timedelta(seconds=60)  # so close after the first, what is told in the same words is said again
CORRECTION, MOVED_AWAY = "correction", "moved_away"
ENDS_DOSING = ("dose_stopped", "recovery_began", "aborted")
CORRECTABLE = ("dose", "waste", "observation", "intervention", "support", "adverse_event")
MOVABLE = ("dose", "observation", "intervention", "support")
ON_ITS_WAY = timedelta(minutes=15)  # CFG: an ambulance that was called no longer ago is for the emergency called now


def root_of(entry: Document) -> str:
    """The entry that is meant where a correction is named."""
    corrected: str = entry["facts"]["corrects"] if entry["kind"] == CORRECTION else entry["_id"]
    return corrected


def present(entries: Iterable[Document]) -> list[Document]:
    """Every entry as it is known now, in the order in which things happened; what was an error or moved away is gone."""
    known: dict[str, Document] = {}
    for entry in sorted(entries, key=lambda row: (row["recorded_at"], row["_id"])):
        facts = entry["facts"]
        if entry["kind"] == MOVED_AWAY:
            known.pop(facts["moves"], None)
        elif entry["kind"] != CORRECTION:
            known[entry["_id"]] = entry
        elif facts.get("entered_in_error"):
            known.pop(facts["corrects"], None)
        elif facts["corrects"] in known:
            before = known[facts["corrects"]]
            known[facts["corrects"]] = {**before, "occurred_at": entry["occurred_at"], "facts": facts["now"]}
    return sorted(known.values(), key=lambda row: (row["occurred_at"], row["_id"]))


def newest_score(entries: Sequence[Document], codes: Sequence[str], since: datetime, until: datetime) -> int | None:
    """The newest total of one of these scales within a span; `entries` in the order of happening."""
    for entry in reversed(entries):
        if entry["kind"] == "observation" and since <= entry["occurred_at"] <= until:
            facts = entry["facts"]
            if facts["observation_code"] in codes and facts.get("score") is not None:
                return int(facts["score"])
    return None


def phase_at(session: Document, ends: Iterable[Document], at: datetime) -> Phase:
    """The phase of an open session at an earlier moment; `ends`: its entries of `ENDS_DOSING`, the first after a dose counts."""
    if not session["doses"] or at < min(dose["at"] for dose in session["doses"]):
        return "baseline"
    dosed = max(dose["at"] for dose in session["doses"])
    ended = [row["occurred_at"] for row in ends if row["occurred_at"] >= dosed]
    began = min(ended, default=dosed) if session["state"] == "recovery" else None
    return "dosing" if began is None or at < began else "recovery"


def emergency_since(entries: Sequence[Document]) -> datetime | None:
    """When the code clock started, in the order of recording; None when no emergency is going on."""
    since: datetime | None = None
    for entry in sorted(entries, key=lambda row: (row["recorded_at"], row["_id"])):
        if entry["kind"] == "emergency_ended":
            since = None
        elif entry["kind"] == "emergency_called" and since is None:
            since = entry["occurred_at"]
    return since


def ambulance_called(entries: Sequence[Document], since: datetime) -> bool:
    """In the emergency that began then, or so shortly before that it is on its way for the same; not for one that ended."""
    called, earliest = False, since - ON_ITS_WAY
    for entry in sorted(entries, key=lambda row: (row["recorded_at"], row["_id"])):
        if entry["kind"] == "emergency_ended":
            called, earliest = False, max(earliest, entry["occurred_at"])
        elif entry["facts"].get("log_code") == "ambulance_called" and entry["occurred_at"] >= earliest:
            called = True
    return called


def code_seconds(since: datetime, at: datetime) -> int:
    return max(int((at - since) / timedelta(seconds=1)), 0)
