"""Clinical content as data: YAML validated at start-up; a fault names file, line and field."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from shared.strictness import no_coercion

M = TypeVar("M", bound="Protocol")
Steps = tuple[int | str, ...]
NUMBER_BOUND = 1e9
_HELD = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Protocol(BaseModel):
    """Base of all content: closed, so that a misspelt key is found; no `true` is a number, and no text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        no_coercion(schema)
        return schema

    def at_odds(self) -> Iterator[tuple[Steps, str]]:
        """What no field shows by itself, each with its place."""
        return iter(())


class Sourced(Protocol):
    """Content of which every value has a source: `sources` names the value's path, or that of what it stands in.

    The path of an item of a list goes by its `name`: `rules.sbp_critical_high.above`.
    """

    identity: ClassVar[frozenset[str]] = frozenset({"version", "sources"})
    sources: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """`words` never hold the value. `hint`: the known name nearest to one that is not known."""

    line: int
    steps: Steps
    words: str
    code: str
    hint: str | None = None

    @property
    def field(self) -> str:
        return ".".join(map(str, self.steps)) or "the whole file"

    def __str__(self) -> str:
        near = f"; the nearest known name is {self.hint}" if self.hint else ""
        return f"{self.line}: {self.field}: {self.words}{near}"


class ProtocolError(Exception):
    """The content is not usable; the text names file, line and field."""

    def __init__(self, text: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(text)
        self.faults = tuple(faults)


def load(path: Path, model: type[M]) -> M:
    """Raises ProtocolError with every fault. What a process ships is read once, for YAML is slow."""
    shipped: M = _shipped(path.read_text(), told(path), model)
    return shipped


def told(path: Path) -> str:
    """As faults name it: with its folder, for there are two of the name `adult.yaml`."""
    return f"{path.parent.name}/{path.name}"


@lru_cache
def _shipped(text: str, name: str, model: type[M]) -> M:
    return parse(text, name, model)


def parse(text: str, name: str, model: type[M]) -> M:
    """Raises ProtocolError with every fault."""
    content, root = read(text, name)
    try:
        made = model.model_validate(content)
    except ValidationError as error:
        raise _refused(name, [_fault(root, model, fault) for fault in error.errors()]) from None
    faults = [Fault(line_of(root, steps), steps, words, "source") for steps, words in _sources(made, content)]
    faults += [Fault(line_of(root, steps), steps, words, "at_odds") for steps, words in made.at_odds()]
    if faults:
        raise _refused(name, faults)
    return made


def read(text: str, name: str) -> tuple[Any, yaml.Node | None]:
    """What was written, with the places of it.

    Raises ProtocolError also for an alias, a key given twice, a wild number, and what is neither text, number, truth,
    list nor names.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        faults = [] if root is None else list(_twisted(root, (), set()))
        content = None if faults or root is None else yaml.SafeLoader("").construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ProtocolError(f"{name}: {error}", [Fault(line, (), "is not YAML", "yaml_invalid")]) from None
    except (RecursionError, ValueError, TypeError, LookupError):
        raise _refused(name, [Fault(1, (), "is not YAML that can be read", "yaml_invalid")]) from None
    faults += [Fault(line_of(root, steps), steps, words, code) for steps, words, code in _wild(content, ())]
    if faults:
        raise _refused(name, faults)
    return content, root


def _refused(name: str, faults: Sequence[Fault]) -> ProtocolError:
    return ProtocolError("\n".join(f"{name}:{fault}" for fault in faults), faults)


def _twisted(node: yaml.Node, steps: Steps, seen: set[int]) -> Iterator[Fault]:
    """A key that is given twice; a node that an alias names again; what has a tag that no content has."""
    line = int(node.start_mark.line) + 1
    if id(node) in seen:
        yield Fault(line, steps, "aliases are not allowed", "alias")
        return
    if node.tag not in _HELD:
        yield Fault(line, steps, "is neither text, number, truth, list nor names; a day stands in quotes", "tag")
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in names:
                yield Fault(int(key.start_mark.line) + 1, steps, "has a key twice, or one that is no name", "key")
                continue
            names.add(key.value)
            yield from _twisted(key, steps, seen)
            yield from _twisted(value, (*steps, key.value), seen)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twisted(item, (*steps, number), seen)


def _wild(value: Any, steps: Steps) -> Iterator[tuple[Steps, str, str]]:
    """Numbers and texts that no store keeps as they are."""
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= NUMBER_BOUND):
        yield steps, "is not a number in range", "number"
    if isinstance(value, str) and _UNFIT.search(value):
        yield steps, "holds characters that no text may have", "text"
    for step, item in _children(value):
        yield from _wild(item, (*steps, step))


def _children(value: Any) -> Iterator[tuple[int | str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(name), item) for name, item in value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def leaves(value: Any, path: str = "", steps: Steps = ()) -> Iterator[tuple[str, Steps, Any]]:
    """Every single value with its path, in which items of a list go by their `name` where they have one."""
    if isinstance(value, list | tuple) and not any(isinstance(item, Mapping) for item in value):
        yield path, steps, value
        return
    children = list(_children(value))
    if not children:
        yield path, steps, value
    for step, item in children:
        named = item.get("name", step) if isinstance(step, int) and isinstance(item, Mapping) else step
        inner = {key: part for key, part in item.items() if key != "name"} if named != step else item
        yield from leaves(inner, f"{path}.{named}" if path else str(named), (*steps, step))


def source_of(sources: Mapping[str, str], path: str) -> str | None:
    """The nearest: of the value itself, else of what it stands in."""
    while path:
        if path in sources:
            return sources[path]
        path = path.rpartition(".")[0]
    return None


def _sources(made: Protocol, content: Any) -> Iterator[tuple[Steps, str]]:
    if not isinstance(made, Sourced):
        return
    found = [item for item in leaves(content) if item[1] and item[1][0] not in made.identity]
    for path, steps, _ in found:
        if not (source_of(made.sources, path) or "").strip():
            yield steps, "has no source: name it under sources"
    for name in made.sources:
        if not any(path == name or path.startswith(name + ".") for path, _, _ in found):
            yield ("sources", name), "is the source of nothing that is here"


def _fault(root: yaml.Node | None, model: type[Protocol], fault: Any) -> Fault:
    steps, code, hint = fault["loc"], str(fault["type"]), None
    if code == "extra_forbidden":
        hint = next(iter(get_close_matches(str(steps[-1]), known_names(model), 1, 0.5)), None)
    return Fault(line_of(root, steps), steps, fault["msg"], code, hint)


def known_names(model: type[Protocol]) -> list[str]:
    """The names of all fields, at every depth."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for part in parts for name in part.get("properties", ())})


def line_of(node: yaml.Node | None, field: Steps) -> int:
    """The line of the field, or of the nearest thing around it where the field itself is missing."""
    if node is None:
        return 1
    line = int(node.start_mark.line) + 1
    for step in field:
        found = _child(node, step)
        if found is None:
            break
        node, line = found
    return line


def _child(node: yaml.Node, step: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(step):
                return value, int(name.start_mark.line) + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        value = node.value[step]
        return value, int(value.start_mark.line) + 1
    return None
