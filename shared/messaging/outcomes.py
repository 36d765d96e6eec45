"""The closed set of what a handler may answer; reasons and codes are slugs, never free text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """The effect is in the transaction; leaves an inbox mark."""


@dataclass(frozen=True)
class Skip:
    """Rightly nothing to do (too late, erased, older than what is known); leaves an inbox mark."""

    reason: str


@dataclass(frozen=True)
class Reject:
    """Can never be handled: becomes a dead letter with its bytes; leaves no mark."""

    code: str


@dataclass(frozen=True)
class Retry:
    """Not now: nothing is kept, the partition waits with growing pauses; `code` says what for.

    `fault`: the handler failed in a way that nobody foresaw. Tried again a few times, then a dead letter: a fault that
    does not pass must not hold up what is behind it for ever.
    """

    code: str
    fault: bool = False


Outcome = Done | Skip | Reject | Retry
