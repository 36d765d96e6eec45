"""Pure checks: what was measured against the alarms, the escalations and the pages."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.history import History, Observed, Reading
from tests.faults.reference import RULES, SURE, Covered, Key, covered, expected
from tests.faults.violation import Violation
from tests.faults.vitals import first_pages, seconds, silent

BOUND_SECONDS = 30.0
CALM_SECONDS = 1.0
SHADOW_SECONDS = 40.0
CLOCK = "clock"
RENEWED = "org.stillwater.monitoring.AlarmRenewed.v1"
ACKNOWLEDGED = "org.stillwater.monitoring.AlarmAcknowledged.v1"


def check_alarms(history: History, seen: Observed) -> Iterator[Violation]:
    """Each episode of the reference model: one alarm, one escalation, a page within the bound of what happened meanwhile."""
    wanted = _hurried(history) | expected(history.readings)
    yield from _one_alarm(history, wanted, seen)
    yield from _one_of_both(history, seen)
    escalated = Counter(row["alarm_id"] for row in seen.escalations)
    first = first_pages(seen)
    for row in _of_signs(seen):
        if escalated[row["_id"]] != 1:
            yield Violation("one_escalation", f"alarm {row['_id']} has {escalated[row['_id']]} escalations")
        yield from _paged(history, row, wanted.get((row["session_id"], row["rule"])), first.get(row["_id"]))
    for session, sign, found in history.shown:
        if not found:
            yield Violation("shown_at_once", f"the collapse of {sign} in session {session} was not on the board")


def _of_signs(seen: Observed) -> list[dict[str, Any]]:
    """Those about the measuring itself the model says nothing of."""
    return [row for row in seen.alarms if row.get("category") == "physiological"]


def _hurried(history: History) -> dict[Key, float | None]:
    """To a clock that jumps ahead every breach has lasted long enough: the alarm may be there, and errs to the safe side."""
    jumps = [fault for fault in history.faults if CLOCK in fault.name]
    return {
        (reading.session_id, rule.name): None
        for reading in history.readings
        if any(fault.began <= reading.taken_at <= fault.ended for fault in jumps)
        for rule in RULES
        if rule.sign == reading.sign and rule.breached(reading.value)
    }


def _one_alarm(history: History, wanted: dict[Key, float | None], seen: Observed) -> Iterator[Violation]:
    made = Counter((row["session_id"], row["rule"]) for row in _of_signs(seen))
    for key, due in wanted.items():
        if made[key] > 1 or (due is not None and made[key] != 1):
            yield Violation("one_alarm", f"{key[1]} in session {key[0]} has {made[key]} alarms{_course(history, key)}")
    for key in made.keys() - wanted.keys():
        what = f"{key[1]} in session {key[0]} that nobody measured{_course(history, key)}"
        yield Violation("alarm_has_breach", what)


def _one_of_both(history: History, seen: Observed) -> Iterator[Violation]:
    """A breach that a graver alarm may speak for has that one or its own, and it was not over before."""
    for breach in covered(history.readings):
        alarms = [row for row in _of_signs(seen) if (row["session_id"], row["rule"]) in _keys(breach)]
        if not any(_stood(row, breach) for row in alarms):
            key = (breach.session_id, breach.rules[0])
            yield Violation("one_of_both", f"{key[1]} in session {key[0]} is told by none{_course(history, key)}")


def _keys(breach: Covered) -> set[Key]:
    return {(breach.session_id, rule) for rule in breach.rules}


def _stood(alarm: dict[str, Any], breach: Covered) -> bool:
    cleared_at = alarm.get("cleared_at")
    began = alarm["breach_since"].timestamp() <= breach.due
    return began and (cleared_at is None or cleared_at.timestamp() >= breach.began)


def _course(history: History, key: Key) -> str:
    """What was measured: each value with the seconds at which it was taken and acknowledged, and the faults meanwhile."""
    sign = next((rule.sign for rule in RULES if rule.name == key[1]), None)
    row = [reading for reading in history.readings if (reading.session_id, reading.sign) == (key[0], sign)]
    begin = min((reading.taken_at for reading in row), default=0.0)
    told = [f"{item.value:g}@{item.taken_at - begin:.1f}/{(item.acknowledged_at or 0) - begin:.1f}" for item in row]
    faults = history.during(begin, max((item.acknowledged_at or item.taken_at for item in row), default=begin))
    return f" ({' '.join(told)}; {', '.join(faults) or 'no fault'})"


def _paged(history: History, alarm: dict[str, Any], due: float | None, paged: float | None) -> Iterator[Violation]:
    name = f"{alarm['rule']} in session {alarm['session_id']}"
    if paged is None:
        yield Violation("paged", f"nobody was paged for {name}")
    elif due is not None:
        bound = bound_of(history, due, paged)
        if paged - due > bound:
            yield Violation("paged_in_time", f"the page for {name} came after {paged - due:.1f} s, bound {bound:.1f} s")


def bound_of(history: History, due: float, paged: float) -> float:
    """How long a page may take: a second, and half a minute more than the faults in between lasted."""
    if not history.faulty(due - SHADOW_SECONDS, paged):
        return CALM_SECONDS
    return BOUND_SECONDS + _covered([(max(row.began, due), min(row.ended, paged)) for row in history.faults])


def _covered(spans: list[tuple[float, float]]) -> float:
    """The length of their union."""
    whole, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        whole += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return whole


def worst_page(history: History, seen: Observed) -> tuple[float, float]:
    """The longest ways from the acknowledgement of a reading to its page in seconds: without a fault near, and of all."""
    calm, worst, first = 0.0, 0.0, first_pages(seen)
    wanted = expected(history.readings)
    for row in seen.alarms:
        due, paged = wanted.get((row["session_id"], row["rule"])), first.get(row["_id"])
        if due is not None and paged is not None:
            worst = max(worst, paged - due)
            if not history.faulty(due - SHADOW_SECONDS, paged):
                calm = max(calm, paged - due)
    return calm, worst


def check_pages(history: History, seen: Observed) -> Iterator[Violation]:
    """A page about signs has its breach in what was sent by then; every other page has a fault as its cause."""
    sent: dict[str, list[Reading]] = defaultdict(list)
    for reading in history.readings:
        sent[reading.room].append(reading)
    silences = {row["_id"] for row in silent(seen)}
    for page in seen.pages:
        body, at = page["body"], seconds(page["at"])
        for item in body.get("signs", ()):
            if not any(_is_breach(reading, item, at) for reading in sent[body.get("room", "")]):
                yield Violation("page_has_breach", f"a page about {item} in {body.get('room')} that nobody measured")
        if body.get("alarm_id") in silences:
            continue  # check_silence has its cause
        if not body.get("signs") and not history.faulty(at - 2 * SHADOW_SECONDS, at):
            yield Violation("page_has_cause", f"a page of kind {body.get('kind')} ({body.get('what')}) without a fault")
        if "alarm not recorded" in body.get("what", "") and not _recorded_nowhere(body, history.readings, at):
            yield Violation(
                "page_has_breach", f"a page ({body.get('what')}) in {body.get('room')} that nobody measured"
            )


def _is_breach(reading: Reading, item: dict[str, Any], at: float) -> bool:
    same = reading.sign == item["sign"] and reading.value == item["value"] and _was_sent(reading, at)
    return same and any(rule.sign == reading.sign and rule.breached(reading.value) for rule in RULES)


def _was_sent(reading: Reading, at: float) -> bool:
    return reading.sent_at is not None and reading.sent_at <= at


def _recorded_nowhere(body: dict[str, Any], readings: list[Reading], at: float) -> bool:
    """Whether the breach of a page that is marked as not recorded was sent before it."""
    what = body.get("what", "")
    named = [rule for rule in RULES if rule.name in what]
    there = [reading for reading in readings if body.get("room") in (None, reading.room) and _was_sent(reading, at)]
    breached = any(rule.sign == reading.sign and rule.breached(reading.value) for rule in named for reading in there)
    return breached or any(f"confirm:{reading.sign}" in what and _is_unsure(reading) for reading in there)


def _is_unsure(reading: Reading) -> bool:
    low, high = SURE.get(reading.sign, (float("-inf"), float("inf")))
    return not low <= reading.value <= high


def check_repeats(history: History, seen: Observed) -> Iterator[Violation]:
    """The same delivery twice is legal only where a fault fell between the attempt and its result."""
    times: dict[str, list[float]] = defaultdict(list)
    for page in seen.pages:
        times[page["idempotency_key"]].append(seconds(page["at"]))
    for mail in seen.mails:
        times[mail["message_id"]].append(seconds(mail["at"]))
    for key, found in times.items():
        if len(found) > 1 and not history.faulty(min(found) - SHADOW_SECONDS, max(found)):
            yield Violation("repeat_has_cause", f"delivery {key} came {len(found)} times without a fault")


def check_accepted(history: History, seen: Observed) -> Iterator[Violation]:
    """An alarm that was accepted by the link in its page is so at monitoring too: once, and once more when it was renewed."""
    alarms = {row["_id"]: row for row in seen.alarms}
    told = Counter((record["type"], record["source"].rpartition("/")[2]) for record in _unique(seen))
    for alarm_id in history.links:
        if not alarms.get(alarm_id, {}).get("acknowledged_at"):
            yield Violation("accepted_back", f"alarm {alarm_id} was accepted in its page, and monitoring does not know")
        times, renewed = told[ACKNOWLEDGED, alarm_id], told[RENEWED, alarm_id]
        if not 1 <= times <= 1 + renewed:
            what = f"alarm {alarm_id} was told as accepted {times} times, as renewed {renewed} times"
            yield Violation("accepted_once", what)


def _unique(seen: Observed) -> list[dict[str, Any]]:
    return list({record["id"]: record for record in seen.records}.values())
