"""What a use case answers, before it is HTTP."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import Response
from pydantic import BaseModel

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """`version` becomes the ETag, `location` the Location."""

    body: BaseModel | None = None
    status: int = 200
    location: str | None = None
    version: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def render(self) -> Response:
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.location:
            headers["Location"] = self.location
        if self.version is not None:
            headers["ETag"] = f'"v{self.version}"'
        content = b"" if self.body is None else self.body.model_dump_json(exclude_none=True).encode()
        return Response(content, self.status, headers, media_type="application/json" if content else None)


class Listing(BaseModel, Generic[T]):
    """One page; without `next_cursor` it is the last."""

    items: list[T]
    next_cursor: str | None = None


AnyListing = Listing[Any]
