"""Signs by their LOINC code: unit (UCUM) and bounds (clinical.md 3.1 with section 10)."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["plausible", "collapse", "quarantined"]


@dataclass(frozen=True)
class Sign:
    """Above `reject_above` a value is quarantined. Below `collapse_below` it is a finding, zero included (section 10)."""

    loinc: str
    name: str
    unit: str
    reject_above: float
    collapse_below: float | None
    lowest: float = 0.0


SIGNS = {
    sign.loinc: sign
    for sign in (
        Sign("8480-6", "systolic", "mm[Hg]", 300, 40),
        Sign("8462-4", "diastolic", "mm[Hg]", 200, None),
        Sign("8867-4", "heart_rate", "/min", 300, 20),
        Sign("59408-5", "spo2", "%", 100, 40),
        Sign("9279-1", "respiratory_rate", "/min", 70, 1),
        Sign("8310-5", "temperature", "Cel", 45, None, 30),
        Sign("19891-1", "etco2", "mm[Hg]", 150, None),
        Sign("72514-3", "pain", "{score}", 10, None),
    )
}
BY_NAME = {sign.name: sign for sign in SIGNS.values()}
SYSTOLIC, DIASTOLIC = BY_NAME["systolic"].loinc, BY_NAME["diastolic"].loinc


def judge(loinc: str, value: float, unit: str, systolic: float | None = None) -> tuple[Verdict, str | None]:
    """Whether a value is believed, and if not, why. `systolic`: the one measured with this diastolic value, if any."""
    sign = SIGNS[loinc]
    if unit != sign.unit:
        return "quarantined", "wrong_unit"
    if value > sign.reject_above:
        return "quarantined", "above_bound"
    if value < sign.lowest:
        return "quarantined", "below_bound"
    if loinc == DIASTOLIC and systolic is not None and value >= systolic:
        return "quarantined", "diastolic_not_below_systolic"
    if sign.collapse_below is not None and value < sign.collapse_below:
        return "collapse", None
    return "plausible", None
