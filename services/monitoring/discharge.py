"""The discharge gate (clinical.md sections 2, 5, 6): every criterion with whether it is met, never only the first. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.events.monitoring import Criterion
from shared.protocols import Protocol

Name = Literal[
    "minimum_time",
    "aldrete",
    "padss",
    "moaas",
    "dissociation_resolved",
    "blood_pressure_near_baseline",
    "escort_confirmed",
    "aftercare_given",
    "no_open_alarm",
    "signature",
]
Aftercare = Literal["no_driving", "written_instructions", "emergency_contact", "next_appointment", "medication"]
PRESCRIBERS = ("prescriber", "medical_director")
ESKETAMINE = "esketamine_nasal"


class DischargeRules(Protocol):
    """`absolute` are the criteria that no override passes; a signature and, for esketamine, what REMS fixes always are.

    Findings older than `findings_valid_minutes`, or from before the last dose, are none.
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
    """What is known when the gate is judged; pressures in mm[Hg], None where nothing valid was found.

    `last_dose_at` is the end of the last administration: None while it still runs. `cadss` is the newest total of
    either form, `cadss_before` the baseline's.
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
    open_alarms: int

    @property
    def minutes(self) -> int:
        """Whole minutes since the last dose, never less than none."""
        if self.last_dose_at is None:
            return 0
        return max(int((self.now - self.last_dose_at).total_seconds() // 60), 0)


def criteria(rules: DischargeRules, found: Findings) -> list[Criterion]:
    checks: dict[Name, bool] = {
        "minimum_time": found.last_dose_at is not None and found.minutes >= rules.min_minutes_after_dose,
        "aldrete": found.aldrete is not None and found.aldrete >= rules.min_aldrete,
        "padss": found.padss is not None and found.padss >= rules.min_padss,
        "moaas": found.moaas is not None and found.moaas >= rules.min_moaas,
        "dissociation_resolved": _dissociation_resolved(rules, found),
        "blood_pressure_near_baseline": _near_baseline(rules, found),
        "escort_confirmed": found.escort_confirmed,
        "aftercare_given": set(rules.aftercare) <= set(found.aftercare),
        "no_open_alarm": found.open_alarms == 0,
        "signature": may_sign(rules, found.route, found.role),
    }
    return [Criterion(criterion=name, met=met) for name, met in checks.items()]


def _dissociation_resolved(rules: DischargeRules, found: Findings) -> bool:
    """By the nurse's eye, and by the scale where it was asked: CADSS has no published cut for discharge."""
    by_scale = found.cadss is None or found.cadss <= max(rules.max_cadss, found.cadss_before)
    return found.dissociation_resolved and by_scale


def _near_baseline(rules: DischargeRules, found: Findings) -> bool:
    if found.systolic is None or found.baseline_systolic is None:
        return False
    change = rules.max_systolic_change_percent / 100 * found.baseline_systolic
    return abs(found.systolic - found.baseline_systolic) <= change


def may_sign(rules: DischargeRules, route: str, role: str) -> bool:
    """A prescriber; a nurse on criteria where the protocol says so, never for esketamine, whatever it says."""
    return role in PRESCRIBERS or (role == "nurse" and rules.nurse_may_sign and route != ESKETAMINE)


def absolute(rules: DischargeRules, route: str) -> set[str]:
    """The criteria that nobody may override (REMS-FDA: at least two hours, and until the effects have resolved)."""
    fixed: Iterable[Name] = ("minimum_time", "moaas", "dissociation_resolved") if route == ESKETAMINE else ()
    return {*rules.absolute, *fixed, "signature"}
