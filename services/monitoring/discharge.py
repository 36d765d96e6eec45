"""The discharge gate (clinical.md section 2): every criterion with whether it is met, never only the first."""

from dataclasses import dataclass
from datetime import datetime

from shared.events.monitoring import Criterion
from shared.protocols import Protocol


class DischargeRules(Protocol):
    min_minutes_after_dose: int
    min_aldrete: int
    min_moaas: int
    max_systolic_change_percent: float


@dataclass(frozen=True)
class Findings:
    """What the nurse found; pressures in mm[Hg]."""

    last_dose_at: datetime
    now: datetime
    aldrete: int
    moaas: int
    dissociation_resolved: bool
    escort_confirmed: bool
    baseline_systolic: float
    systolic: float | None
    open_alarms: int

    @property
    def minutes(self) -> int:
        return int((self.now - self.last_dose_at).total_seconds() // 60)


def criteria(rules: DischargeRules, found: Findings) -> list[Criterion]:
    change = rules.max_systolic_change_percent / 100 * found.baseline_systolic
    near = found.systolic is not None and abs(found.systolic - found.baseline_systolic) <= change
    checks = {
        "minimum_time": found.minutes >= rules.min_minutes_after_dose,
        "aldrete": found.aldrete >= rules.min_aldrete,
        "moaas": found.moaas >= rules.min_moaas,
        "dissociation_resolved": found.dissociation_resolved,
        "blood_pressure_near_baseline": near,
        "escort_confirmed": found.escort_confirmed,
        "no_open_alarm": found.open_alarms == 0,
    }
    return [Criterion(criterion=name, met=met) for name, met in checks.items()]
