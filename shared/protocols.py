"""Clinical content as data: YAML validated at start-up; a fault names file, line and field."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound="Protocol")


class Protocol(BaseModel):
    """Base of all content: closed, so that a misspelt key is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtocolError(Exception):
    """The content is not usable; the text names file, line and field."""


def load(path: Path, model: type[M]) -> M:
    """Raises ProtocolError with every fault."""
    text = path.read_text()
    try:
        return model.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        faults = [_fault(path, root, fault["loc"], fault["msg"]) for fault in error.errors()]
        raise ProtocolError("\n".join(faults)) from None
    except yaml.YAMLError as error:
        raise ProtocolError(f"{path.name}: {error}") from None


def _fault(path: Path, root: yaml.Node | None, field: tuple[int | str, ...], words: str) -> str:
    return f"{path.name}:{_line(root, field)}: {'.'.join(map(str, field)) or 'the whole file'}: {words}"


def _line(node: yaml.Node | None, field: tuple[int | str, ...]) -> int:
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
