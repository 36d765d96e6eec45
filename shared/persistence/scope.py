"""On whose behalf, in which clinic. A query without a clinic cannot be written: collections are only had through a scope."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Actor:
    """Who acts: the token's subject or a component of the system. Never a name."""

    id: str
    role: str


@dataclass(frozen=True)
class Scope:
    """Clinic, actor and the threads that tie an effect to its cause."""

    clinic_id: str
    actor: Actor
    purpose: str = "treatment"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    def caused_by(self, event_id: str, correlation_id: str | None) -> "Scope":
        return replace(self, causation_id=event_id, correlation_id=correlation_id or event_id)

    def traced(self, traceparent: str | None) -> "Scope":
        return replace(self, traceparent=traceparent)


def system_scope(clinic_id: str, component: str) -> Scope:
    """The scope of a component that acts by itself: a consumer, a timer, a job."""
    return Scope(clinic_id, Actor(f"system:{component}", "system"), purpose="operations")
