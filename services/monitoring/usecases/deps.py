"""What the use cases are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.monitoring.combinations import Combination
from services.monitoring.limits import PHASES, Bounds, Limit, Limits, Rule, bounds_of, limits
from services.monitoring.model import PHASE, SessionProtocol
from services.monitoring.vitals import BY_NAME, doubtful, judge
from shared.persistence.mongo import Document
from shared.persistence.vault import Vault

DEFAULT_ROUTE = "iv"
RESOLVED_KEPT = 4096


@dataclass(frozen=True)
class Deps:
    """`protocols` and the rules of their limits, by version."""

    vault: Vault
    protocols: Mapping[str, SessionProtocol]
    rules: Mapping[str, Sequence[Rule]]
    combinations: Mapping[str, Sequence[Combination]] = field(default_factory=dict)
    resolved: dict[object, Limits] = field(default_factory=dict, compare=False)
    bounds: dict[int, tuple[tuple[Limit, ...], Bounds]] = field(default_factory=dict, compare=False)

    def protocol(self, session: Document) -> SessionProtocol:
        """The version that the session began with."""
        return self.protocols[session["protocol_version"]]

    def rules_of(self, session: Document) -> Sequence[Rule]:
        """Every rule of the session's protocol, of all phases."""
        return self.rules[self.protocol(session).limits]

    def limits(self, session: Document) -> Limits:
        """What counts as a breach in this session now."""
        phase, version = PHASE.get(session["state"], "recovery"), self.protocol(session).limits
        baseline, own = baseline_signs(session), session.get("own_limits") or {}
        suppressed = session.get("suppressed") or {}
        key = (version, phase, tuple(baseline.items()), tuple(own.items()), tuple(suppressed.items()))
        found = self.resolved.get(key)
        if found is None:
            if len(self.resolved) >= RESOLVED_KEPT:
                self.resolved.clear()
            found = self.resolved[key] = limits(
                self.rules[version], phase, baseline, own, suppressed, self.combinations.get(version, ())
            )
        return found

    def calm(self, found: tuple[Limit, ...]) -> Bounds:
        """Within these bounds none of the limits is broken; kept for the very limits that `limits` gave."""
        known = self.bounds.get(id(found))
        if known is None or known[0] is not found:
            if len(self.bounds) >= RESOLVED_KEPT:
                self.bounds.clear()
            known = self.bounds[id(found)] = (found, bounds_of(found))
        return known[1]

    def abnormal(self, session: Document | None, sign: str, value: float, unit: str) -> bool:
        """Whether a value is one that nobody may drop: not believed, to be confirmed, a collapse, or beyond a limit.

        For a session that is not known every limit of every protocol counts.
        """
        if judge(sign, value, unit)[0] != "plausible" or doubtful(sign, value):
            return True
        if session is not None:
            return any(limit.rule.sign == sign and limit.breached(value) for limit in self.limits(session))
        return any(
            limit.rule.sign == sign and limit.breached(value)
            for rules in self.rules.values()
            for phase in PHASES
            for limit in limits(rules, phase, {})
        )

    def protocol_of_route(self, route: str | None) -> SessionProtocol:
        """The newest of a route; of the default route where none is planned yet."""
        routes = {item.route for item in self.protocols.values()}
        chosen = route if route in routes else DEFAULT_ROUTE
        return max((item for item in self.protocols.values() if item.route == chosen), key=lambda item: item.version)


def baseline_signs(session: Document) -> dict[str, float]:
    """The session's baseline by LOINC code."""
    base = session["baseline"] or {}
    return {sign.loinc: base[name] for name, sign in BY_NAME.items() if base.get(name) is not None}
