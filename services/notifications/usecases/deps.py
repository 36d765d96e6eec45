"""What the use cases are given, and the way from a committed page to the pager without another look at the store."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from services.notifications.escalation import EscalationPolicy
from services.notifications.messages import MessageTexts
from shared.persistence.mongo import Document
from shared.persistence.vault import TransportCipher, Vault


@dataclass(frozen=True)
class Prepared:
    """A committed message whose first attempt this process has claimed, with its text still in memory."""

    row: Document
    payload: Document


@dataclass
class Outbound:
    """Wakes a sender. What is lost here costs one sweep: the rows are the truth."""

    ready: deque[Prepared] = field(default_factory=deque)
    signal: asyncio.Event = field(default_factory=asyncio.Event)
    take: Callable[[], None] = lambda: None

    def give(self, prepared: Prepared) -> None:
        """Taken at once by a sender that runs here, even while it waits for the store."""
        self.ready.append(prepared)
        self.take()

    def wake(self) -> None:
        self.signal.set()


@dataclass(frozen=True)
class Deps:
    """`holder` names this process in claims; `pages` and `mails` wake its two senders; `voice`: calls can be made."""

    vault: Vault
    transport: TransportCipher
    policy: EscalationPolicy
    texts: MessageTexts
    fallback_pager: str
    public_url: str
    mail_from: str
    holder: str
    pages: Outbound
    mails: Outbound
    voice: bool = False
