"""Which change of an event breaks somebody (interop.md section 8, the asymmetric scheme)."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.compatibility import breaks
from shared.events.registry import EVENTS

OLD: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["visit_id", "kind", "at", "places"],
    "properties": {
        "visit_id": {"type": "string", "maxLength": 36},
        "kind": {"enum": ["dosing", "group"], "type": "string"},
        "unit": {"const": "mg", "type": "string", "default": "mg"},
        "step": {"enum": [1, 2], "type": "integer", "default": 1},
        "at": {"type": "string", "format": "date-time"},
        "note_no": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "places": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
    },
    "$defs": {
        "Place": {
            "type": "object",
            "additionalProperties": False,
            "required": ["id", "sort"],
            "properties": {"id": {"type": "string"}, "sort": {"enum": ["room", "chair"], "type": "string"}},
        }
    },
}
FIELDS, PLACE = ("properties",), ("$defs", "Place")
REMOVE = object()


def changed(*path: str, to: Any) -> dict[str, Any]:
    new = deepcopy(OLD)
    where = new
    for step in path[:-1]:
        where = where[step]
    if to is REMOVE:
        del where[path[-1]]
    else:
        where[path[-1]] = to
    return new


def rename(old: str, new: str) -> dict[str, Any]:
    schema = changed(*FIELDS, new, to=OLD["properties"][old])
    del schema["properties"][old]
    return schema


BROKEN = [
    (changed(*FIELDS, "note_no", to=REMOVE), "note_no", "field_removed"),
    (rename("note_no", "remark_no"), "note_no", "field_removed"),
    (changed("required", to=["visit_id", "kind", "at", "places", "unit"]), "unit", "optional_made_required"),
    (changed("required", to=["visit_id", "kind", "places"]), "at", "required_made_optional"),
    (changed(*FIELDS, "visit_id", to={"type": "integer", "maxLength": 36}), "visit_id", "type_changed"),
    (changed(*FIELDS, "at", to={"type": "string"}), "at", "format_changed"),
    (changed(*FIELDS, "at", "format", to="date"), "at", "format_changed"),
    (changed(*FIELDS, "visit_id", "format", to="uuid"), "visit_id", "format_changed"),
    (changed(*FIELDS, "kind", "enum", to=["dosing"]), "kind", "enum_value_removed"),
    (changed(*FIELDS, "unit", to={"const": "ug", "type": "string", "default": "mg"}), "unit", "enum_value_removed"),
    (changed(*FIELDS, "step", "enum", to=[1, 2, 3]), "step", "enum_value_added"),
    (changed(*FIELDS, "kind", to={"type": "string"}), "kind", "type_changed"),
    (changed(*FIELDS, "note_no", to={"type": "integer", "default": None}), "note_no", "type_changed"),
    (changed(*FIELDS, "note_no", "anyOf", to=[{"type": "number"}, {"type": "null"}]), "note_no", "type_changed"),
    (changed(*FIELDS, "visit_id", "maxLength", to=20), "visit_id", "bound_changed"),
    (changed(*FIELDS, "visit_id", "maxLength", to=REMOVE), "visit_id", "bound_changed"),
    (changed(*FIELDS, "visit_id", "pattern", to="^a"), "visit_id", "bound_changed"),
    (changed(*FIELDS, "step", "default", to=2), "step", "default_changed"),
    (changed(*FIELDS, "counts", "additionalProperties", to={"type": "string"}), "counts{}", "type_changed"),
    (changed(*FIELDS, "places", "items", to={"type": "string"}), "places[]", "type_changed"),
    (changed(*PLACE, "properties", "sort", to=REMOVE), "places[].sort", "field_removed"),
    (changed(*PLACE, "properties", "sort", "enum", to=["room"]), "places[].sort", "enum_value_removed"),
    (changed(*PLACE, "required", to=["id"]), "places[].sort", "required_made_optional"),
    (changed("additionalProperties", to=True), "payload", "opened"),
    (changed("additionalProperties", to=REMOVE), "payload", "opened"),
]


@pytest.mark.parametrize(("new", "field", "rule"), BROKEN, ids=[f"{rule}-{field}" for _, field, rule in BROKEN])
def test_a_break_names_the_field_and_the_rule(new: dict[str, Any], field: str, rule: str) -> None:
    found = breaks(OLD, new)
    assert [(item.field or "payload", item.rule) for item in found] == [(field, rule)]
    assert str(found[0]).startswith(f"{field}: {rule} (")


def test_a_new_required_field_is_a_break() -> None:
    new = changed(*FIELDS, "room", to={"type": "string"})
    new["required"] = [*OLD["required"], "room"]
    assert [(item.field, item.rule) for item in breaks(OLD, new)] == [("room", "required_field_added")]


@pytest.mark.parametrize(
    "new",
    [
        changed(*FIELDS, "room", to={"type": "string", "default": "1"}),
        changed(*FIELDS, "kind", "enum", to=["dosing", "wellness", "group"]),
        changed(*FIELDS, "unit", to={"enum": ["mg", "ug"], "type": "string", "default": "mg"}),
        changed(*PLACE, "properties", "sort", "enum", to=["chair", "room", "pump"]),
        changed(*PLACE, "properties", "level", to={"type": "integer", "default": 0}),
        changed(*FIELDS, "visit_id", to={"type": "string", "maxLength": 36, "title": "Visit", "description": "x"}),
        changed("title", to="Another word"),
    ],
    ids=["optional_field", "code", "second_code", "nested_code", "nested_optional_field", "words", "title"],
)
def test_what_every_reader_can_take_is_no_break(new: dict[str, Any]) -> None:
    assert breaks(OLD, new) == []


def test_closing_what_was_open_is_no_break_for_readers() -> None:
    assert breaks(changed("additionalProperties", to=REMOVE), OLD) == []


def test_a_schema_that_contains_itself_is_compared_once() -> None:
    tree: dict[str, Any] = {
        "$ref": "#/$defs/Tree",
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {"more": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}, "n": {"type": "integer"}},
            }
        },
    }
    other = deepcopy(tree)
    other["$defs"]["Tree"]["properties"]["n"] = {"type": "string"}
    assert breaks(tree, tree) == []
    assert [item.field for item in breaks(tree, other)] == ["n"]


_leaf: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": "string", "format": "date-time"},
        {"enum": ["a", "b"], "type": "string"},
        {"const": "a", "type": "string"},
        {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        {"$ref": "#/$defs/Place"},
    ]
)


def _made(named: dict[str, Any], needed: set[str], closed: bool) -> dict[str, Any]:
    required = sorted(needed & set(named))
    return {"type": "object", "properties": named, "required": required, "additionalProperties": not closed}


def _object(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from("abcdef")
    return st.builds(_made, st.dictionaries(names, below, max_size=4), st.sets(names), st.booleans())


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "$defs": OLD["$defs"]}


_schemas = st.recursive(_leaf, lambda below: _object(below) | below.map(_list), max_leaves=12).map(_whole)


@given(_schemas)
def test_every_schema_is_compatible_with_itself(schema: dict[str, Any]) -> None:
    assert breaks(schema, deepcopy(schema)) == []


@given(_object(_leaf), st.data())
def test_dropping_any_field_is_found(schema: dict[str, Any], data: st.DataObject) -> None:
    schema["$defs"] = OLD["$defs"]
    if not schema["properties"]:
        return
    gone = data.draw(st.sampled_from(sorted(schema["properties"])))
    new = deepcopy(schema)
    del new["properties"][gone]
    assert (gone, "field_removed") in {(item.field, item.rule) for item in breaks(schema, new)}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type())
def test_every_event_is_compatible_with_itself(event: Any) -> None:
    assert breaks(event.model_json_schema(), event.model_json_schema()) == []
