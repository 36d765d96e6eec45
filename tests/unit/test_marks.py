"""What has left is marked soon and together; until then the relay knows it by itself."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.messaging import marks
from shared.messaging.marks import Marks
from tests.support.eventually import a_turn, eventually

LONG = 60.0


class Store:
    """Notes what was marked together; says nothing while it is held, and refuses while it is away."""

    def __init__(self) -> None:
        self.marked: list[list[str]] = []
        self.answers, self.away = asyncio.Event(), False
        self.answers.set()

    async def mark(self, identifiers: Sequence[str]) -> None:
        await self.answers.wait()
        if self.away:
            raise ConnectionError
        self.marked.append(list(identifiers))


async def with_a_mark_on_its_way(monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Marks]:
    """The store has not answered to the mark of a; b has come meanwhile, and could wait for long."""
    monkeypatch.setattr(marks, "MARK_SECONDS", LONG)
    store = Store()
    store.answers.clear()
    soon = Marks(store.mark)
    soon.add(["a"], at_once=True)
    await a_turn()
    await a_turn()
    soon.add(["b"], at_once=False)
    return store, soon


async def test_a_few_rows_are_marked_together_after_a_moment() -> None:
    store = Store()
    soon = Marks(store.mark)
    soon.add(["a"], at_once=False)
    soon.add(["b"], at_once=False)
    await a_turn()
    assert (store.marked, soon.named) == ([], ["a", "b"])

    async def marked() -> bool:
        return store.marked == [["a", "b"]]

    await eventually(marked, 5)
    assert soon.named == []


async def test_a_backlog_is_marked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MARK_SECONDS", LONG)
    store = Store()
    Marks(store.mark).add(["a"], at_once=True)

    async def marked() -> bool:
        return store.marked == [["a"]]

    await eventually(marked, 5)


async def test_what_comes_while_a_mark_is_on_its_way_is_named_and_marked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store, soon = await with_a_mark_on_its_way(monkeypatch)
    assert soon.named == ["a", "b"]
    store.answers.set()
    await asyncio.wait_for(soon.settle(), LONG / 2)
    assert (store.marked, soon.named) == ([["a"], ["b"]], [])


async def test_a_mark_that_failed_is_told_once_and_its_rows_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MARK_SECONDS", 0)
    store = Store()
    store.away = True
    soon = Marks(store.mark)
    soon.add(["a"], at_once=False)

    async def forgotten() -> bool:
        return not soon.named

    await eventually(forgotten, 5)
    with pytest.raises(ConnectionError):
        soon.look()
    soon.look()
    store.away = False
    soon.add(["a"], at_once=True)
    await soon.settle()
    assert store.marked == [["a"]]


async def test_rows_that_waited_behind_a_mark_that_failed_are_sent_again_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, soon = await with_a_mark_on_its_way(monkeypatch)
    store.away = True
    store.answers.set()
    with pytest.raises(ConnectionError):
        await soon.settle()
    assert soon.named == []
