"""Rows that the change stream brings whole, for a relay that has sent all that came before them: no look in the store.

The stream tells commits in their order, so what it brings may leave in that order as long as nothing before it was left
behind. Whenever that is not sure, what it brings is only a hint, and a look at all that waits makes it sure again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

from shared.clock import Clock
from shared.persistence.writes import Document

FRESH = timedelta(seconds=1)
REMEMBERED = 4000


class Handed:
    """Of one relay. A look begins with `looking` and ends with `looked`; what comes meanwhile is kept.

    More than `at_most` rows are a backlog: one look is cheaper.
    """

    def __init__(self, clock: Clock, at_most: int) -> None:
        self._clock, self._at_most = clock, at_most
        self._rows: list[Document] = []
        self._left: OrderedDict[str, None] = OrderedDict()
        self._streams = self._looked_in = 0
        self._sure = self._looking = False

    def opened(self) -> None:
        """A stream begins: what was committed before it is not handed over by it."""
        self._streams += 1
        self.doubt()

    def doubt(self) -> None:
        """Something may have been left behind: not sent, or never handed over."""
        self._sure = False
        self._rows.clear()

    def add(self, rows: Sequence[Document]) -> None:
        """What comes late may have left long ago, and is not remembered: a look tells."""
        if not (self._sure or self._looking):
            return
        oldest = self._clock.system_now() - FRESH
        if len(self._rows) + len(rows) > self._at_most or any(row["created_at"] < oldest for row in rows):
            self.doubt()
        else:
            self._rows += rows

    def looking(self) -> None:
        """All that was handed over until now is committed, so the look finds it."""
        self._rows.clear()
        self._looking, self._looked_in = True, self._streams

    def looked(self, *, all_of_it: bool) -> None:
        """`all_of_it`: nothing was passed over, and nothing waits behind what was found."""
        self._looking = False
        self._sure = all_of_it and self._looked_in == self._streams > 0
        if not self._sure:
            self._rows.clear()

    def left(self, identifiers: Sequence[str]) -> None:
        """They were sent; the stream may still bring them."""
        self._left.update(dict.fromkeys(identifiers))
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)

    def take(self) -> list[Document]:
        """What may leave now, in the order of its commits."""
        rows = [row for row in self._rows if row["_id"] not in self._left]
        self._rows.clear()
        return rows
