"""May a schema of an event take the place of another? Pure: two JSON Schemas in, the breaks out.

Asymmetric (interop.md section 8): closed for the producer, so old readers meet only what the new schema names; tolerant for
consumers, which ignore unknown fields and read unknown codes as "unknown". Topics keep old records, so new code reads those too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]
Rule = Literal[
    "field_removed",
    "required_field_added",
    "optional_made_required",
    "required_made_optional",
    "type_changed",
    "format_changed",
    "enum_value_removed",
    "enum_value_added",
    "bound_changed",
    "default_changed",
    "opened",
]
_BOUNDS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_UNIONS = ("anyOf", "oneOf", "allOf")
_ABSENT = object()


@dataclass(frozen=True)
class Break:
    """`field` is a path from the payload: `resources[].kind`; empty for the payload itself."""

    field: str
    rule: Rule
    detail: str

    def __str__(self) -> str:
        return f"{self.field or 'payload'}: {self.rule} ({self.detail})"


def breaks(old: Schema, new: Schema) -> list[Break]:
    """Empty when every reader of the old schema can read the new records, and every reader of the new one the old records."""
    return list(_compare("", old, new, old, new, frozenset()))


def _compare(
    path: str, old: Schema, new: Schema, old_root: Schema, new_root: Schema, seen: frozenset[str]
) -> Iterator[Break]:
    name = str(old.get("$ref", ""))
    if name and name in seen:
        return
    seen |= {name} if name else frozenset()
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    if _kind(old) != _kind(new):
        yield Break(path, "type_changed", f"{_kind(old)} is now {_kind(new)}")
        return
    yield from _values(path, old, new)
    yield from _fields(path, old, new, old_root, new_root, seen)
    for part, below in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(old.get(part), Mapping) and isinstance(new.get(part), Mapping):
            yield from _compare(path + below, old[part], new[part], old_root, new_root, seen)
    for part in (*_UNIONS, "prefixItems"):
        for before, after in zip(old.get(part, ()), new.get(part, ()), strict=True):
            yield from _compare(path, before, after, old_root, new_root, seen)


def _resolve(schema: Schema, root: Schema) -> Schema:
    """Local references followed; words beside the reference stay."""
    while "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{name: item for name, item in schema.items() if name != "$ref"}}
    return schema


def _kind(schema: Schema) -> str:
    """What must stay as it is, in words: JSON types, and the shape of unions, lists and maps."""
    words = [str(schema["type"])] if "type" in schema else []
    words += [f"{part} of {len(schema[part])}" for part in (*_UNIONS, "prefixItems") if part in schema]
    words += ["codes"] if _codes(schema) is not None else []
    words += ["items"] if isinstance(schema.get("items"), Mapping) else []
    words += ["map"] if isinstance(schema.get("additionalProperties"), Mapping) else []
    return " ".join(words) or "anything"


def _codes(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _values(path: str, old: Schema, new: Schema) -> Iterator[Break]:
    if old.get("format") != new.get("format"):
        yield Break(path, "format_changed", f"{old.get('format')} is now {new.get('format')}")
    before, after = _codes(old) or [], _codes(new) or []
    for code in before:
        if code not in after:
            yield Break(path, "enum_value_removed", f"{code!r} has gone")
    for code in after:
        if code not in before and not isinstance(code, str):
            yield Break(path, "enum_value_added", f"{code!r} is not text, so readers cannot take it as unknown")
    for bound in _BOUNDS:
        if old.get(bound) != new.get(bound):
            yield Break(path, "bound_changed", f"{bound} {old.get(bound)} is now {new.get(bound)}")
    if old.get("additionalProperties") is False and new.get("additionalProperties", True) is not False:
        yield Break(path, "opened", "the producer may no longer write what nobody named")


def _fields(
    path: str, old: Schema, new: Schema, old_root: Schema, new_root: Schema, seen: frozenset[str]
) -> Iterator[Break]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed, needed_now = set(old.get("required", ())), set(new.get("required", ()))
    for name, schema in before.items():
        field = f"{path}.{name}" if path else name
        if name not in after:
            yield Break(field, "field_removed", "a new name is a removal too")
            continue
        if name in needed - needed_now:
            yield Break(field, "required_made_optional", "its readers need it")
        if name in needed_now - needed:
            yield Break(field, "optional_made_required", "records without it are still in the topic")
        default, default_now = schema.get("default", _ABSENT), after[name].get("default", _ABSENT)
        if name not in needed | needed_now and default != default_now:
            yield Break(field, "default_changed", "its absence would mean two things")
        yield from _compare(field, schema, after[name], old_root, new_root, seen)
    for name in sorted(set(after) - set(before)):
        if name in needed_now:
            yield Break(
                f"{path}.{name}" if path else name, "required_field_added", "records without it are in the topic"
            )
