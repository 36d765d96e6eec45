"""Every attribute of a span, declared before use: OpenTelemetry's names, and never one whose value could be a patient's."""

from collections.abc import Mapping
from typing import Literal, cast, get_args

Attribute = Literal[
    "db.collection.name",
    "db.namespace",
    "db.operation.name",
    "db.response.status_code",
    "db.system.name",
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "messaging.consumer.group.name",
    "messaging.destination.name",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.system",
    "server.address",
]
Attributes = dict[Attribute, str]

DECLARED: frozenset[str] = frozenset(get_args(Attribute))


def plain(attributes: Attributes) -> Mapping[str, str]:
    """For OpenTelemetry, to whose types one name is as good as another."""
    return cast("Mapping[str, str]", attributes)
