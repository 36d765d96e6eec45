"""Signs by their LOINC code: unit (UCUM) and the bounds beyond which a value is quarantined (clinical.md 3.1 with 10)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sign:
    """`reject_above` in the sign's unit. Below the lower bound nothing is refused: zero is a finding (section 10)."""

    loinc: str
    name: str
    unit: str
    reject_above: float


SIGNS = {
    sign.loinc: sign
    for sign in (
        Sign("8480-6", "systolic", "mm[Hg]", 300),
        Sign("8462-4", "diastolic", "mm[Hg]", 200),
        Sign("8867-4", "heart rate", "/min", 300),
        Sign("59408-5", "SpO2", "%", 100),
        Sign("9279-1", "respiratory rate", "/min", 70),
    )
}


def quarantine_reason(loinc: str, value: float, unit: str) -> str | None:
    """Why a value is kept but not believed; None when it is plausible."""
    sign = SIGNS[loinc]
    if unit != sign.unit:
        return "wrong_unit"
    if value > sign.reject_above:
        return "above_bound"
    return "negative" if value < 0 else None
