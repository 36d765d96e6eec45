"""State events of monitoring, for those who rebuild a projection."""

from collections.abc import Mapping

from services.monitoring.store import SESSIONS
from services.monitoring.usecases.telling import state_of
from shared.messaging.republish import Republish

REPUBLISH: Mapping[str, Republish] = {
    "SessionState": Republish(SESSIONS, state_of, lambda row: f"session/{row['_id']}"),
}
