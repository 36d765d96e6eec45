"""What the use cases are given, and the clinic's own time."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from services.scheduling.model import VisitProtocol
from services.scheduling.store import CLINIC
from shared.persistence.mongo import Reader


@dataclass(frozen=True)
class Deps:
    protocol: VisitProtocol


async def zone_of(reader: Reader, deps: Deps) -> ZoneInfo:
    """From the clinic's profile, else the protocol's."""
    clinic = await reader.collection(CLINIC).find_one({"_id": reader.scope.clinic_id})
    return ZoneInfo(clinic["time_zone"] if clinic else deps.protocol.time_zone)
