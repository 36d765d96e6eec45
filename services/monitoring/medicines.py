"""Allergies and other medicines that stand against a dose, by code (clinical.md 4.1, 4.2). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from shared.protocols import Protocol, Sourced

Class = Literal["absolute", "overridable", "note"]


class Interaction(Protocol):
    """A medicine or a class of them: RxNorm codes as they stand in the clinical summary."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Class
    codes: tuple[str, ...]


class Medicines(Sourced):
    """protocols/medicines/*.yaml; a session protocol names the version that it uses."""

    version: str
    allergies: tuple[str, ...]
    interactions: tuple[Interaction, ...]


@dataclass(frozen=True)
class Finding:
    code: str
    kind: Class


def findings(medicines: Medicines, allergies: Iterable[str], taken: Iterable[str]) -> list[Finding]:
    """The allergy to what is about to be given first, then each interacting medicine."""
    found = [Finding("allergy", "absolute")] if set(allergies) & set(medicines.allergies) else []
    codes = set(taken)
    return found + [
        Finding(f"interaction_{item.name}", item.kind) for item in medicines.interactions if codes & set(item.codes)
    ]
