"""Documents of an earlier shape, read as if they had the present one.

A change of shape goes in three releases: read both (an upcaster here), write the new one and migrate (`migrations.py`),
drop the upcaster. So old and new code work side by side during each roll-out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = dict[str, Any]
Upcaster = Callable[[Document], Document]


class Shapes:
    """By collection: the n-th upcaster makes a document of `schema_version` n + 1 from one of n. Without: version 1."""

    def __init__(self, upcasters: Mapping[str, Sequence[Upcaster]] | None = None) -> None:
        self._upcasters = upcasters or {}

    def version(self, collection: str) -> int:
        return 1 + len(self._upcasters.get(collection, ()))

    def read(self, collection: str, document: Document) -> Document:
        """Unchanged when it is of the present version, or of a later one that newer code has written."""
        known = document.get("schema_version", 1)
        for number, upcast in enumerate(self._upcasters.get(collection, ())[known - 1 :], known + 1):
            document = {**upcast(document), "schema_version": number}
        return document
