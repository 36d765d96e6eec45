"""The discharge gate (clinical.md sections 2, 5, 6): every criterion with whether it is met, never only the first. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.events.monitoring import Criterion
from shared.persistence.mongo import Document
from shared.protocols import Protocol

Name = Literal[
    "minimum_time",
    "aldrete",
    "padss",
    "moaas",
    "dissociation_resolved",
    "breathing_resolved",
    "blood_pressure_near_baseline",
    "escort_confirmed",
    "aftercare_given",
    "no_open_alarm",
    "no_emergency",
    "signature",
]
Aftercare = Literal["no_driving", "written_instructions", "emergency_contact", "next_appointment", "medication"]
PRESCRIBERS = ("prescriber", "medical_director")
ESKETAMINE = "esketamine_nasal"
REMS: tuple[Name, ...] = ("minimum_time", "moaas", "dissociation_resolved", "breathing_resolved")
ALWAYS: tuple[Name, ...] = ("escort_confirmed", "aftercare_given", "signature")  # LAC, KET-UK, NERV, clinical.md 5


class DischargeRules(Protocol):
    """`absolute` are the criteria that no override passes, beside those that `ALWAYS` and, for esketamine, REMS fix.

    `max_systolic_change_percent` holds for the diastolic pressure too. Findings older than `findings_valid_minutes`, or
    from before the last dose, are none.
    """

    min_minutes_after_dose: int
    min_aldrete: int
    min_padss: int
    min_moaas: int
    max_cadss: int
    max_systolic_change_percent: float
    findings_valid_minutes: float
    aftercare: Sequence[Aftercare]
    nurse_may_sign: bool
    absolute: Sequence[Name]


@dataclass(frozen=True)
class Findings:
    """What is known when the gate is judged; pressures in mm[Hg], SpO2 in %, breaths per minute, None where nothing
    valid was found.

    `now` is when the patient goes; of what is told afterwards the findings since then count too.
    `last_dose_at` is the end of the last administration: None while it still runs, or nobody has said that it ended.
    `cadss` is the newest total of either form, `cadss_before` the baseline's. `breathing_beyond` are the limits of
    recovery that SpO2 and respiratory rate break, `breathing_alarms` the open alarms about either. `emergency`: one was
    called, of the patient or of the whole group, and has not ended.
    """

    route: str
    role: str
    now: datetime
    last_dose_at: datetime | None
    aldrete: int | None
    padss: int | None
    moaas: int | None
    cadss: int | None
    cadss_before: int
    dissociation_resolved: bool
    escort_confirmed: bool
    aftercare: Collection[str]
    baseline_systolic: float | None
    systolic: float | None
    baseline_diastolic: float | None
    diastolic: float | None
    spo2: float | None
    respiratory_rate: float | None
    breathing_beyond: Collection[str]
    breathing_alarms: int
    open_alarms: int
    emergency: bool

    @property
    def minutes(self) -> int:
        return minutes_since(self.last_dose_at, self.now)


def last_given(session: Document, *, infused: bool) -> datetime | None:
    """When the last administration ended: the last device or dose, or the end of what was infused.

    None while that runs, and until somebody has said that it ended. Of another route a stop ends the watching of the
    dose alone: its time counts from the dose.
    """
    infusion = session.get("infusion") or {}
    times: list[datetime] = [dose["at"] for dose in session["doses"]]
    if not times or not (infused or infusion.get("rate_mg_per_h") is not None):
        return max(times, default=None)
    return max(*times, infusion["since"]) if infusion.get("state") == "stopped" else None


def minutes_since(given: datetime | None, now: datetime) -> int:
    """Whole minutes since the last administration ended, never less than none; none while it runs."""
    return 0 if given is None else max(int((now - given).total_seconds() // 60), 0)


def criteria(rules: DischargeRules, found: Findings) -> list[Criterion]:
    checks: dict[Name, bool] = {
        "minimum_time": found.last_dose_at is not None and found.minutes >= rules.min_minutes_after_dose,
        "aldrete": found.aldrete is not None and found.aldrete >= rules.min_aldrete,
        "padss": found.padss is not None and found.padss >= rules.min_padss,
        "moaas": found.moaas is not None and found.moaas >= rules.min_moaas,
        "dissociation_resolved": _dissociation_resolved(rules, found),
        "breathing_resolved": _breathing_resolved(found),
        "blood_pressure_near_baseline": _near_baseline(rules, found),
        "escort_confirmed": found.escort_confirmed,
        "aftercare_given": set(rules.aftercare) <= set(found.aftercare),
        "no_open_alarm": found.open_alarms == 0,
        "no_emergency": not found.emergency,
        "signature": may_sign(rules, found.route, found.role),
    }
    return [Criterion(criterion=name, met=met) for name, met in checks.items()]


def _dissociation_resolved(rules: DischargeRules, found: Findings) -> bool:
    """By the nurse's eye, and by the scale where it was asked: CADSS has no published cut for discharge."""
    by_scale = found.cadss is None or found.cadss <= max(rules.max_cadss, found.cadss_before)
    return found.dissociation_resolved and by_scale


def _breathing_resolved(found: Findings) -> bool:
    """REMS-FDA, clinical.md 2. Where no oximeter has to be present, SpO2 counts as far as it was measured."""
    measured = found.spo2 is not None or found.route != ESKETAMINE
    return measured and not found.breathing_beyond and found.breathing_alarms == 0


def _near_baseline(rules: DischargeRules, found: Findings) -> bool:
    """ALD, clinical.md 2: circulation, of which both pressures are told."""
    pairs = (found.systolic, found.baseline_systolic), (found.diastolic, found.baseline_diastolic)
    return all(_near(now, before, rules.max_systolic_change_percent) for now, before in pairs)


def _near(now: float | None, before: float | None, percent: float) -> bool:
    return now is not None and before is not None and abs(now - before) <= percent / 100 * before


def detail(name: str, found: Findings) -> str:
    """Why a criterion is not met, in words."""
    if name == "minimum_time" and found.last_dose_at is None:
        return "The minimum time has not begun: nobody has said that the dose ended (/dose/stop)."
    if name == "breathing_resolved" and found.breathing_beyond:
        return f"SpO2 or respiratory rate is beyond a limit of recovery: {', '.join(found.breathing_beyond)}."
    if name == "breathing_resolved" and found.spo2 is None and found.route == ESKETAMINE:
        return "SpO2 was not measured since the last dose, or too long ago."
    if name == "blood_pressure_near_baseline" and None in (found.baseline_systolic, found.baseline_diastolic):
        return "No baseline pressure is known; /baseline takes what was measured before the dose, with its time."
    if name == "no_emergency":
        return "An emergency was called and has not ended (/emergency/end)."
    return f"The criterion {name} is not met."


def may_sign(rules: DischargeRules, route: str, role: str) -> bool:
    """A prescriber; a nurse on criteria where the protocol says so, never for esketamine, whatever it says."""
    return role in PRESCRIBERS or (role == "nurse" and rules.nurse_may_sign and route != ESKETAMINE)


def absolute(rules: DischargeRules, route: str) -> set[str]:
    """The criteria that nobody may override: on no route escort and aftercare, whatever the protocol lists.

    REMS-FDA for esketamine: at least two hours, and until the effects have resolved.
    """
    return {*rules.absolute, *(REMS if route == ESKETAMINE else ()), *ALWAYS}
