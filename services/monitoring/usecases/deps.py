"""What the use cases are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import orjson

from services.monitoring.combinations import Combination
from services.monitoring.limits import EVERYTHING, PHASES, Bounds, Limit, Limits, Rule, bounds_of, limits
from services.monitoring.medicines import Medicines
from services.monitoring.model import PHASE
from services.monitoring.protocol import DosingProtocol, HardBounds, SessionProtocol, model_of
from services.monitoring.vitals import BY_NAME, doubtful, judge
from shared.errors import Conflict
from shared.persistence.mongo import Document
from shared.persistence.vault import Vault

DEFAULT_ROUTE = "iv"
RESOLVED_KEPT = 4096
FORMER = frozenset({"scales"})  # nothing reads it any more; what was signed with it stays readable (ADR 15)
PINNED_KEPT = 1024


@dataclass(frozen=True)
class Deps:
    """`protocols`, the rules of their limits and the medicines against a dose, by version: those of the files.

    `pinned`: clinics' own, by version.
    """

    vault: Vault
    protocols: Mapping[str, SessionProtocol]
    rules: Mapping[str, Sequence[Rule]]
    hard_bounds: HardBounds
    medicines: Mapping[str, Medicines] = field(default_factory=dict)
    combinations: Mapping[str, Sequence[Combination]] = field(default_factory=dict)
    resolved: dict[object, Limits] = field(default_factory=dict, compare=False)
    bounds: dict[int, tuple[tuple[Limit, ...], Bounds]] = field(default_factory=dict, compare=False)
    pinned: dict[str, SessionProtocol] = field(default_factory=dict, compare=False)

    def protocol(self, session: Document) -> SessionProtocol:
        """The version that the session began with: of the files, or its clinic's own, which the session carries."""
        own = session.get("protocol_content")
        return self.protocols[session["protocol_version"]] if own is None else self._own(session, own)

    def dosing(self, session: Document) -> DosingProtocol:
        """The same where a dose can be given. Raises Conflict for a kind of session without one."""
        protocol = self.protocol(session)
        if not isinstance(protocol, DosingProtocol):
            reason = {"code": "kind", "detail": f"In a session of the kind {protocol.kind} no dose is given."}
            raise Conflict(reasons=[reason])
        return protocol

    def _own(self, session: Document, text: str) -> SessionProtocol:
        """The version holds the content's hash, so what is kept under it never changes.

        What was signed when a text of digits was a number stays readable.
        """
        version = session["protocol_version"]
        found = self.pinned.get(version)
        if found is None:
            if len(self.pinned) >= PINNED_KEPT:
                self.pinned.clear()
            content = {name: value for name, value in orjson.loads(text).items() if name not in FORMER}
            found = self.pinned[version] = model_of(content).model_validate(content, strict=False)
        return found

    def rules_of(self, session: Document) -> Sequence[Rule]:
        """Every rule of the session's protocol, of all phases."""
        protocol = self.protocol(session)
        return self.rules[protocol.limits] if protocol.rules is None else protocol.rules

    def limits(self, session: Document) -> Limits:
        """What counts as a breach in this session now."""
        phase, protocol = PHASE.get(session["state"], "recovery"), self.protocol(session)
        baseline, own = baseline_signs(session), session.get("own_limits") or {}
        suppressed = session.get("suppressed") or {}
        version = protocol.limits if protocol.rules is None else session["protocol_version"]
        key = (version, phase, tuple(baseline.items()), tuple(own.items()), tuple(suppressed.items()))
        found = self.resolved.get(key)
        if found is None:
            if len(self.resolved) >= RESOLVED_KEPT:
                self.resolved.clear()
            combined = self.combinations.get(protocol.limits, ())
            found = limits(self.rules_of(session), phase, baseline, own, suppressed, combined)
            self.resolved[key] = found
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

        For a session that is not known every limit of every protocol of the files counts.
        """
        if judge(sign, value, unit)[0] != "plausible" or doubtful(sign, value):
            return True
        low, high = (self.calm(self.limits(session)) if session else self.calm_anywhere).get(sign, EVERYTHING)
        return not low < value < high

    @cached_property
    def calm_anywhere(self) -> Bounds:
        """Within these bounds no limit of any protocol of the files is broken."""
        return bounds_of(
            [limit for rules in self.rules.values() for phase in PHASES for limit in limits(rules, phase, {})]
        )

    def protocol_of(self, subject: str) -> SessionProtocol | None:
        """The newest of the files for a route or kind."""
        mine = [item for item in self.protocols.values() if item.subject == subject]
        return max(mine, key=lambda item: item.version, default=None)

    def protocol_of_route(self, route: str | None) -> SessionProtocol:
        """The newest of a route; of the default route where none is planned yet."""
        found = (route and self.protocol_of(route)) or self.protocol_of(DEFAULT_ROUTE)
        assert found is not None  # noqa: S101 - the files have the default route, or nothing starts
        return found


def baseline_signs(session: Document) -> dict[str, float]:
    """The session's baseline by LOINC code."""
    base = session["baseline"] or {}
    return {sign.loinc: base[name] for name, sign in BY_NAME.items() if base.get(name) is not None}
