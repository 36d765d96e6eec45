"""Bodies of a clinic's own protocols."""

from typing import Any, Literal

from pydantic import Field

from shared.web.schemas import Body, Id, Instant

YAML_CHARS = 20_000


class NewProtocol(Body):
    """Either `content`, or the same as the text of a YAML file; faults in `yaml` are named with their line.

    Signed, it is in effect from `effective_at`; from its signature where that is absent or has passed by then.
    """

    content: dict[str, Any] | None = None
    yaml: str | None = Field(default=None, min_length=1, max_length=YAML_CHARS)
    effective_at: Instant | None = None


class ProtocolRow(Body):
    """`version_id` is what a session shows as the version that it began with; `base` is that of which this is a change.

    One that is superseded, because another was signed after it, stays in effect until `effective_until`.
    """

    id: Id
    version_id: str
    kind: str
    route: str | None = None
    state: Literal["draft", "signed", "superseded"]
    base: str | None = None
    digest: str
    created_at: Instant
    signed_at: Instant | None = None
    signed_by: str | None = None
    effective_at: Instant | None = None
    effective_until: Instant | None = None
    version: int


class ProtocolShown(ProtocolRow):
    content: dict[str, Any]


class Change(Body):
    """One value: absent `old` is new here, absent `new` is gone. `source` is that of the newer side."""

    path: str
    old: Any = None
    new: Any = None
    source: str | None = None


class Diff(Body):
    before: str
    after: str
    changes: list[Change]
