"""Clinical content as data: YAML validated at start-up; a fault names file and field."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound="Protocol")


class Protocol(BaseModel):
    """Base of all content: closed, so that a misspelt key is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtocolError(Exception):
    """The content is not usable; the text names file and field."""


def load(path: Path, model: type[M]) -> M:
    """Raises ProtocolError."""
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        faults = [f"{path.name}: {'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in error.errors()]
        raise ProtocolError("; ".join(faults)) from None
    except yaml.YAMLError as error:
        raise ProtocolError(f"{path.name}: {error}") from None
