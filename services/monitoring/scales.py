"""In-session scales: totals and readings. Pure. Sources: clinical.md section 2 and 3.4."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Risk = Literal["low", "low_medium", "medium", "high"]
ALDRETE = ("activity", "breathing", "circulation", "consciousness", "saturation")
PADSS = ("vitals", "gait_and_orientation", "pain_nausea_vomiting", "intake_and_voiding")
# [LABEL], clinical.md 3.3: with a high pressure an emergency; its last row (CFG) makes any of them critical by itself.
SYMPTOMS = ("chest_pain", "dyspnoea", "sudden_headache", "visual_loss", "seizure", "focal_deficit")
CADSS6_ITEMS = (1, 2, 6, 7, 15, 22)
Bands = Sequence[tuple[float, int]]
_BANDS: Mapping[str, Bands] = {
    # Per sign: (highest value of the band, its score), ascending; above the last band the last score holds.
    "9279-1": ((8, 3), (11, 1), (20, 0), (24, 2), (float("inf"), 3)),
    "59408-5": ((91, 3), (93, 2), (95, 1), (float("inf"), 0)),
    "8480-6": ((90, 3), (100, 2), (110, 1), (219, 0), (float("inf"), 3)),
    "8867-4": ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (float("inf"), 3)),
    "8310-5": ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (float("inf"), 2)),
}
# SpO2 scale 2, for hypercapnic patients with a target of 88-92 %: on air 93 and more is no finding, on oxygen it is too much.
_SPO2 = "59408-5"
_ON_AIR: Bands = ((83, 3), (85, 2), (87, 1), (float("inf"), 0))
_TOO_MUCH: Bands = ((83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2), (float("inf"), 3))
NEWS2_SIGNS = tuple(_BANDS)
_ON_OXYGEN, _NOT_ALERT, _RED = 2, 3, 3


@dataclass(frozen=True)
class Scale:
    """Items of 0 to `highest` each; `fixed` is added where a variant leaves an item out. `version` is kept with each answer."""

    version: str
    items: Sequence[str]
    highest: int
    fixed: int = 0

    def total(self, answers: Mapping[str, int]) -> int:
        """Raises ValueError for a missing or unknown item, or a value beyond the item's range."""
        if set(answers) != set(self.items):
            raise ValueError("needs exactly the items " + ", ".join(self.items))
        if any(not 0 <= value <= self.highest for value in answers.values()):
            raise ValueError(f"each item is from 0 to {self.highest}")
        return sum(answers.values()) + self.fixed


@dataclass(frozen=True)
class Rating:
    """One number from 0 to `highest`; `version` is kept with each answer."""

    version: str
    highest: int


# Clinical.md section 2: what is answered item by item; the total is computed here, a client's is never taken.
SCALES: Mapping[str, Scale] = {
    "aldrete": Scale("aldrete-1995", ALDRETE, 2),  # [ALD]
    "padss": Scale("padss-bleeding-free", PADSS, 2, fixed=2),  # [PADSS]; OWN: bleeding is fixed at 2
    "cadss6": Scale("cadss-6", [str(number) for number in CADSS6_ITEMS], 4),  # [CADSS6]
    "cadss": Scale("cadss-23", [str(number) for number in range(1, 24)], 4),  # [CADSS]: the subjective items
    "symptoms": Scale("symptoms-1", SYMPTOMS, 1),  # CFG: 1 where it is there
}
# What is one number. MOAA/S from 0 (no response to pain) to 5 (prompt to a normal voice) [MOAAS]; it has other prints.
RATINGS: Mapping[str, Rating] = {
    "moaas": Rating("moaas-0-5", 5),
    "pain": Rating("pain-0-10", 10),
    "nausea": Rating("nausea-0-10", 10),
    "comfort": Rating("comfort-0-10", 10),
}


def version_of(code: str) -> str | None:
    """Of the scale or rating of an observation; None of what is neither."""
    scale = SCALES.get(code) or RATINGS.get(code)
    return scale.version if scale else None


def news2(signs: Mapping[str, float], *, on_oxygen: bool, alert: bool, spo2_scale: int = 1) -> tuple[int, Risk] | None:
    """NEWS2 (RCP 2017, section 3.4): total and response; None when a sign is missing.

    An extra only, never the sole trigger: expected dissociation reads as new confusion, ketamine hypertension does not score.
    """
    if not set(_BANDS) <= set(signs):
        return None
    bands = _BANDS if spo2_scale == 1 else {**_BANDS, _SPO2: _TOO_MUCH if on_oxygen else _ON_AIR}
    scores = [_score(bands[sign], signs[sign]) for sign in bands]
    scores += [_ON_OXYGEN if on_oxygen else 0, 0 if alert else _NOT_ALERT]
    total = sum(scores)
    if total >= 7:  # noqa: PLR2004 - the table's bands
        return total, "high"
    if total >= 5:  # noqa: PLR2004
        return total, "medium"
    return total, "low_medium" if _RED in scores else "low"


def _score(bands: Bands, value: float) -> int:
    return next(score for highest, score in bands if value <= highest)
