"""What a check finds. Each has a name, so that a red one says what broke."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"
