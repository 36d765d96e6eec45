"""The operations of the four OpenAPI documents, as committed: what a test of all of them goes through."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs.generate import DOCS
from shared.messaging.topics import SERVICES

DOCUMENTS: dict[str, Any] = {name: json.loads((DOCS / "openapi" / f"{name}.json").read_text()) for name in SERVICES}


@dataclass(frozen=True)
class Operation:
    """What a document says of one; `method` in lower case, `reads` the path where its ETag is read."""

    service: str
    method: str
    path: str
    reads: str
    said: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.said["operationId"])

    def takes(self, parameter: str) -> bool:
        return {"$ref": f"#/components/parameters/{parameter}"} in self.said.get("parameters", [])

    def answers(self, status: int) -> bool:
        return str(status) in self.said["responses"]

    @property
    def needs_token(self) -> bool:
        return "security" in self.said

    @property
    def role(self) -> str:
        """One that may."""
        return str(self.said.get("x-roles", ["front_desk"])[-1])

    @property
    def _content(self) -> Any:
        return self.said.get("requestBody", {}).get("content", {}).get("application/json", {})

    @property
    def example(self) -> Any:
        return self._content.get("example")

    @property
    def body(self) -> Any:
        """The schema of its body, whole."""
        return _whole(self._content.get("schema", {}), DOCUMENTS[self.service]["components"]["schemas"])


def _operations() -> Iterator[Operation]:
    for service, document in DOCUMENTS.items():
        paths = document["paths"]
        for path, methods in paths.items():
            above = [path.rsplit("/", cut)[0] if cut else path for cut in range(path.count("/"))]
            reads = next((one for one in above if "get" in paths.get(one, {})), "")
            for method, said in methods.items():
                yield Operation(service, method, path, reads, said)


def _whole(schema: Any, schemas: dict[str, Any]) -> Any:
    """Each reference replaced by what it refers to."""
    if isinstance(schema, list):
        return [_whole(one, schemas) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return {name: _whole(one, schemas) for name, one in schema.items()}


ALL = tuple(_operations())
OPERATIONS = {one.name: one for one in ALL}
assert len(OPERATIONS) == len(ALL), "an operationId that two services use"
