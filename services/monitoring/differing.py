"""What differs between two versions of a protocol, value by value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.protocols import leaves, source_of


@dataclass(frozen=True)
class Difference:
    """None where the value is not there; `source` is that of the newer side where it has the value."""

    path: str
    old: Any
    new: Any
    source: str | None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """In the order of the paths. A source that alone is another is a difference as well."""
    before, after = _values(old), _values(new)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            side = new if path in after else old
            found.append(Difference(path, before.get(path), after.get(path), source_of(side.get("sources", {}), path)))
    return found


def _values(content: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in content.items() if name != "sources"}
    found = {path: value for path, _, value in leaves(plain)}
    return found | {f"sources.{name}": text for name, text in content.get("sources", {}).items()}


def as_text(before: str, after: str, changes: list[Difference]) -> str:
    """For reading: one line per value."""
    lines = [f"{before} -> {after}"]
    for item in changes:
        source = f"  [{item.source}]" if item.source else ""
        lines.append(f"{item.path}: {_shown(item.old)} -> {_shown(item.new)}{source}")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)
