"""Pure: what the beats of the alarm evaluators say, and when their silence is a finding. All times are real time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

SILENCE = timedelta(seconds=15)
BEATS_COME = timedelta(seconds=10)  # two of them: the next is not overdue yet
ENDED_KEPT = timedelta(seconds=60)
TROUBLE_OVER = timedelta(seconds=30)  # six beats
MAX_SESSIONS = 500


@dataclass(frozen=True)
class Finding:
    """Something to page once. `cause` is the same for the same trouble, whoever finds it."""

    code: str
    cause: str
    since: datetime
    session_id: str | None = None
    what: str = ""


def together(findings: Sequence[Finding]) -> list[Finding]:
    """What is found at one look: sessions that stand still at the same time are one page, and not one each."""
    still = [finding for finding in findings if finding.code == "session_not_evaluated"]
    if len(still) < 2:  # noqa: PLR2004 - several
        return list(findings)
    cause = ":".join(["stale", *sorted(finding.cause for finding in still)])
    since = min(finding.since for finding in still)
    several = Finding("sessions_not_evaluated", cause, since, what=f"{len(still)} sessions")
    return [*(finding for finding in findings if finding not in still), several]


def observe(
    row: Mapping[str, Any] | None,
    *,
    sessions: Iterable[tuple[str, datetime]],
    ended: Iterable[str],
    now: datetime,
) -> dict[str, Any]:
    """The clinic's watch after one more beat: the newest stamp per session over all evaluators.

    A session that no evaluator names ages and is found; it leaves by `ended`. Bounded: of more than 500 sessions of a
    clinic the oldest stamps are dropped last, for they are the ones to be found. A stamp of an evaluator whose clock is
    ahead counts as one of now: else its session would not be missed until then.
    """
    before = row or {"sessions": {}, "ended": {}}
    gone = {name: when for name, when in before["ended"].items() if now - when < ENDED_KEPT} | dict.fromkeys(ended, now)
    stamps: dict[str, datetime] = dict(before["sessions"])
    for session_id, stamp in sessions:
        stamps[session_id] = min(max(stamp, stamps.get(session_id, stamp)), now)
    kept = sorted((name for name in stamps if name not in gone), key=lambda name: stamps[name])[:MAX_SESSIONS]
    return {"sessions": {name: stamps[name] for name in kept}, "ended": gone, "beat_at": now}


def over(trouble: Mapping[str, Any], now: datetime, since: datetime | None = None) -> bool:
    """Nobody has told it for half a minute. Evaluators tell side by side: the beat of one that sees nothing ends nothing.

    So it is with what was told by a clock that has been set back since. `since`: as in `silent`.
    """
    return bool(abs(now - _heard(trouble["last"], since)) >= TROUBLE_OVER)


def silent(row: Mapping[str, Any], clinic_id: str, now: datetime, since: datetime | None = None) -> list[Finding]:
    """No beat for a clinic with open sessions, else the sessions that nobody evaluates. Empty when all is well.

    Between two beats sessions age together: what stands still is told from a beat that fails to come, which is one page.
    What nobody could hear before `since` counts as heard then.
    """
    if not row["sessions"]:
        return []
    beat_at = row["beat_at"]
    quiet_for = now - _heard(beat_at, since)
    if quiet_for > SILENCE:
        return [Finding("monitoring_silent", f"silent:{clinic_id}:{beat_at.isoformat()}", beat_at)]
    if quiet_for > BEATS_COME:
        return []
    return [
        Finding("session_not_evaluated", f"stale:{session_id}:{stamp.isoformat()}", stamp, session_id)
        for session_id, stamp in row["sessions"].items()
        if now - _heard(stamp, since) > SILENCE
    ]


def _heard(at: datetime, since: datetime | None) -> datetime:
    return at if since is None else max(at, since)
