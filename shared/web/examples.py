"""A value that a JSON Schema allows: the same for the same schema, and like what the field holds in life."""

import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
_UUID = "0192a7c4-5b1e-7d3a-9c42-3f8e6b1d0a57"
_FORMATS = {
    "date-time": "2026-03-02T15:00:00.000Z",
    "date": "2026-03-02",
    "time": "15:00:00",
    "uuid": _UUID,
    "email": "ada@example.org",
    "uri": "https://example.org/",
}
_WORDS = {
    "time_zone": "America/New_York",
    "room": "2",
    "chair": "A",
    "source": "oximeter",
    "sealed": "c2VhbGVk",
    "appointments": _UUID,
    "ended": _UUID,
    "by": _UUID,
    "sign": "8480-6",
    "role": "nurse",
    "by_role": "nurse",
    "roles": "nurse",
    "language": "en",
    "email": "ada@example.org",
    "phone": "+12025550143",
}
_TEXTS = ("2027-06", "09:30", "2026-03-02", "ada@example.org", "+12025550143", "https://example.org/", "A1", "en")


def example(schema: Schema, root: Schema, name: str = "") -> Any:
    """Raises ValueError for a pattern that it cannot meet: give such a field `examples`."""
    while "$ref" in schema:
        schema = resolve(schema["$ref"], root)
    for part in ("anyOf", "oneOf", "allOf"):
        if part in schema:
            return example(next(one for one in schema[part] if one.get("type") != "null"), root, name)
    said = [*schema.get("examples", ()), *schema.get("enum", ())]
    said += [schema[word] for word in ("example", "const") if word in schema]
    return said[0] if said else _made(schema, root, name)


def _made(schema: Schema, root: Schema, name: str) -> Any:
    kind = schema.get("type", "object")
    if kind == "array":
        return [example(schema.get("items", {}), root, name)] * max(schema.get("minItems", 1), 1)
    if kind == "object":
        return _object(schema, root)
    if kind == "string":
        return _text(schema, name)
    return {"boolean": True, "null": None}[kind] if kind in ("boolean", "null") else _number(schema)


def resolve(reference: str, root: Schema) -> Schema:
    """A local reference; raises KeyError when nothing is there."""
    target: Any = root
    for step in reference.removeprefix("#/").split("/"):
        target = target[step.replace("~1", "/").replace("~0", "~")]
    found: Schema = target
    return found


def _object(schema: Schema, root: Schema) -> dict[str, Any]:
    made = {name: example(item, root, name) for name, item in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties")
    return made or ({"name": example(more, root)} if isinstance(more, Mapping) else {})


def _text(schema: Schema, name: str) -> str:
    """The first of what the field may hold that meets pattern and length."""
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    own = _UUID if name == "id" or name.endswith("_id") else _WORDS.get(name, name or "text")
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    for text in (own, _UUID, *_TEXTS):
        made = text.ljust(shortest, "x")[:longest]
        if re.search(schema.get("pattern", ""), made):
            return made
    raise ValueError(f"{name}: no example for the pattern {schema['pattern']}")


def _number(schema: Schema) -> float:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    value = 1 if low is None else low + ("exclusiveMinimum" in schema)
    value = max(value, 1) if high is None or high >= 1 else value
    value = min(value, high) if high is not None else value
    return int(value) if schema.get("type") == "integer" else value
