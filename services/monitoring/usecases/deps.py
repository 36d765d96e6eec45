"""What the use cases are given."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.monitoring.model import SessionProtocol
from shared.persistence.mongo import Document
from shared.persistence.vault import Vault

DEFAULT_ROUTE = "iv"


@dataclass(frozen=True)
class Deps:
    """`protocols` by their version."""

    vault: Vault
    protocols: Mapping[str, SessionProtocol]

    def protocol(self, session: Document) -> SessionProtocol:
        """The version that the session began with."""
        return self.protocols[session["protocol_version"]]

    def protocol_of_route(self, route: str | None) -> SessionProtocol:
        """The newest of a route; of the default route where none is planned yet."""
        of_route = [item for item in self.protocols.values() if item.route == (route or DEFAULT_ROUTE)]
        return max(of_route or self.protocols.values(), key=lambda item: item.version)
