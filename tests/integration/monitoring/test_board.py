"""The board's stream on the real store: nothing missed, whichever replica answers; who cannot keep up is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import orjson
import pytest

from services.monitoring import schemas
from services.monitoring.board_beats import HeardBeats
from services.monitoring.board_readers import QUEUE_FRAMES, Reader
from services.monitoring.board_stream import Board
from services.monitoring.usecases import correcting, dosing
from shared.errors import Unavailable
from shared.events.monitoring import EvaluatorBeat, UnrecordedAlarm
from shared.persistence.changes import Changes
from shared.persistence.mongo import Document
from tests.integration.monitoring.world import CLINIC, NURSE, Chair
from tests.support.eventually import eventually


def long_ago(position: str | None) -> str:
    """The position of something that the store's history does not hold any more: its time is in the year 2020."""
    assert position
    return f"825E0BE100{position[10:]}"


class Viewer:
    """Reads its frames as the page does."""

    def __init__(self, board: Board, clinic: str = CLINIC) -> None:
        self.board, self.clinic = board, clinic
        self.frames: list[tuple[str, Any]] = []
        self.position: str | None = None
        self.reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None

    async def comes(self, position: str | None = None) -> "Viewer":
        self.reader = await self.board.join(self.clinic)
        found = await self.board.since(self.clinic, position) if position else ()
        for chunk in found or ():
            self._take(chunk)
        self._take(self.board.snapshot(self.clinic, "too_old" if found is None else None))
        self._task = asyncio.create_task(self._read(self.reader))
        return self

    async def _read(self, reader: Reader) -> None:
        while chunk := await reader.next():
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        for text in chunk.decode().strip().split("\n\n"):
            lines = dict(line.partition(": ")[::2] for line in text.split("\n"))
            self.frames.append((lines["event"], orjson.loads(lines["data"])))
            self.position = lines.get("id", self.position)

    def goes(self) -> str:
        assert self.reader
        assert self._task
        self._task.cancel()
        self.board.leave(self.reader)
        assert self.position
        return self.position

    def of(self, event: str) -> list[Any]:
        return [data for name, data in self.frames if name == event]

    async def has_heard(self, event: str, times: int) -> bool:
        return len(self.of(event)) >= times

    def transitions(self, rule: str = "sbp_critical_high") -> list[str]:
        return [row["transition"] for row in self.of("alarm") if row["rule"] == rule]

    async def sees(self, *transitions: str) -> None:
        async def look() -> bool:
            return self.transitions() == list(transitions)

        await eventually(look)

    async def hears(self, event: str) -> Any:
        async def look() -> list[Any]:
            return self.of(event)

        return (await eventually(look))[-1]


async def told(viewer: Viewer) -> Viewer:
    await viewer.hears("alarm")
    return viewer


@asynccontextmanager
async def replica(chair: Chair) -> AsyncIterator[Board]:
    board = Board(chair.mongo, chair.deps, chair.memory, HeardBeats(chair.clock, lambda: None))
    stop = asyncio.Event()
    running = asyncio.create_task(board.run(stop))

    async def up() -> bool:
        return not board.store_gone

    await eventually(up)
    yield board
    stop.set()
    await running


@pytest.fixture
async def board(chair: Chair) -> AsyncIterator[Board]:
    async with replica(chair) as made:
        yield made


async def test_a_snapshot_holds_all_that_a_chair_shows(chair: Chair, board: Board) -> None:
    await chair.lasts(192, 6)
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, "stop", schemas.Infusion()))
    viewer = await Viewer(board).comes()
    (shown,) = viewer.of("snapshot")[0]["chairs"]
    assert (shown["label"], shown["room"], shown["chair"], shown["phase"]) == ("ADA", "R", "2", "recovery")
    assert shown["dosed_at"] == "2026-01-01T12:01:01.000Z"
    assert shown["signs"]["8480-6"]["value"] == 192
    assert shown["due"] == {"code": "discharge_from", "at": "2026-01-01T13:01:08.000Z", "signs": []}

    async def alarmed() -> bool:
        return viewer.board.snapshot(CLINIC, None).count(b'"colour":"red"') == 1

    await eventually(alarmed)


async def test_of_values_the_latest_wins_in_one_frame(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    for value in (120, 121, 122):
        chair.clock.advance(1)
        await chair.measures(value)

    async def shown() -> bool:
        return bool(viewer.of("values")) and _value(viewer.of("values")[-1], chair) == 122

    await eventually(shown)
    assert len(viewer.of("values")) <= 3


def _value(frame: Document, chair: Chair) -> float:
    return float(frame["values"][chair.session_id]["8480-6"]["value"])


async def test_what_came_late_is_not_shown_as_now(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    at = chair.clock.clinical_now()
    chair.clock.advance(60)
    await chair.measures(111, at=at)
    await chair.measures(97, "59408-5")
    frame = await viewer.hears("values")
    shown = {sign: known["value"] for sign, known in frame["values"][chair.session_id].items()}
    assert shown["59408-5"] == 97
    assert shown.get("8480-6") != 111


async def test_after_an_artefact_the_next_frame_shows_the_last_value_that_stands(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()

    async def decides(value: float, decision: Literal["confirmed", "artefact"]) -> None:
        (row,) = await chair.mongo.plumbing("vitals").find({"session_id": chair.session_id, "value": value})
        decided = (chair.session_id, row["_id"], decision, schemas.Decision())
        await chair._run(lambda unit: correcting.decide(unit, chair.deps, *decided))

    async def shows(value: float | None) -> None:
        async def look() -> bool:
            shown = [frame["values"][chair.session_id].get("8480-6") for frame in viewer.of("values")]
            return bool(shown) and (shown[-1] and shown[-1]["value"]) == value

        await eventually(look)

    await chair.measures(118)
    chair.clock.advance(5)
    await chair.measures(230)
    await shows(230)
    await decides(230, "artefact")
    await shows(118)
    await decides(118, "artefact")
    await shows(120)
    await decides(120, "artefact")
    await shows(None)
    chair.clock.advance(5)
    await chair.measures(301)
    await decides(301, "confirmed")
    await shows(301)


async def test_every_transition_of_an_alarm_is_told_with_its_position(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    await chair.lasts(192, 6)
    await viewer.sees("raised")
    alarm = (await chair.alarms(rule="sbp_critical_high"))[0]
    await chair.acknowledges(alarm["_id"])
    await chair.measures(130)
    await viewer.sees("raised", "acknowledged", "cleared")
    assert viewer.position not in (None, "")


async def test_what_happened_meanwhile_is_replayed_by_another_replica(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    await chair.lasts(165, 16)
    position = viewer.goes()
    await chair.lasts(192, 6)
    alarm = (await chair.alarms(rule="sbp_critical_high"))[0]
    await chair.acknowledges(alarm["_id"])
    async with replica(chair) as other:
        again = await Viewer(other).comes(position)
        await again.sees("raised", "acknowledged")
        assert again.of("snapshot")[0]["missed"] is None
        (shown,) = again.of("snapshot")[0]["chairs"]
        assert {row["rule"] for row in shown["alarms"]} == {"sbp_critical_high", "sbp_warning_high"}


async def test_what_happened_meanwhile_is_replayed_by_the_same_replica(chair: Chair, board: Board) -> None:
    position = (await Viewer(board).comes()).goes()
    bystander = await Viewer(board).comes()
    await chair.lasts(192, 6)
    await bystander.sees("raised")
    await (await Viewer(board).comes(position)).sees("raised")


@pytest.mark.parametrize("position", ["82FF", "zz", "0" * 4000])
async def test_a_position_that_is_none_gets_a_fresh_snapshot_that_says_so(board: Board, position: str) -> None:
    viewer = await Viewer(board).comes(position)
    assert viewer.of("snapshot")[0]["missed"] == "too_old"
    assert len(viewer.of("snapshot")[0]["chairs"]) == 1


async def test_a_position_that_is_too_old_gets_a_fresh_snapshot_that_says_so(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    await chair.lasts(192, 6)
    await viewer.sees("raised")
    again = await Viewer(board).comes(long_ago(viewer.position))
    assert (again.of("snapshot")[0]["missed"], again.of("alarm")) == ("too_old", [])


async def test_another_clinics_position_shows_nothing_of_it(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    await chair.lasts(192, 6)
    await viewer.sees("raised")
    stranger = await Viewer(board, "clinic-2").comes(viewer.position)
    assert stranger.of("snapshot")[0]["chairs"] == []
    assert stranger.of("alarm") == []
    await chair.lasts(193, 2)
    assert chair.session_id not in str(stranger.frames)


async def test_when_the_stream_itself_lost_its_place_everybody_is_told(
    chair: Chair, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = await Viewer(board).comes()
    await chair.lasts(165, 16)
    lost = long_ago((await told(viewer)).position)
    changes = chair.mongo.changes

    def from_long_ago(match: Document, *, after: str | None = None, **rest: int) -> Changes:
        monkeypatch.undo()
        return changes(match, after=after and lost, **rest)

    monkeypatch.setattr(chair.mongo, "changes", from_long_ago)
    board._reopen.set()

    async def fresh() -> bool:
        return [row["missed"] for row in viewer.of("snapshot")] == [None, "too_old"]

    await eventually(fresh)
    await chair.lasts(192, 6)
    await viewer.sees("raised")


async def test_who_left_is_gone_from_the_board(chair: Chair, board: Board) -> None:
    viewer = await Viewer(board).comes()
    await chair.leaves()
    assert await viewer.hears("gone") == {"session_id": chair.session_id}
    assert board.snapshot(CLINIC, None).count(b'"session_id"') == 0


async def test_who_does_not_keep_up_is_cut_and_the_others_are_not(board: Board) -> None:
    slow, viewer = await board.join(CLINIC), await Viewer(board).comes()
    for number in range(1, QUEUE_FRAMES + 2):
        board._tell(CLINIC, b"event: beat\ndata: 1\n\n")
        await eventually(partial(viewer.has_heard, "beat", number), every_s=0)
    assert slow.cut.is_set()
    assert await slow.next() == b""
    assert viewer.reader
    assert not viewer.reader.cut.is_set()


async def test_who_ends_tells_its_readers_to_come_again_and_takes_no_new_ones(chair: Chair) -> None:
    async with replica(chair) as ending:
        viewer = await Viewer(ending).comes()
    assert await viewer.hears("bye") == {"reason": "drain"}
    with pytest.raises(Unavailable):
        await ending.join(CLINIC)


async def test_alarms_that_could_not_be_recorded_are_shown_whoever_received_them(
    chair: Chair, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chair.memory.refresh()
    viewer = await Viewer(board).comes()

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(chair.mongo, "run", away)
    for _ in range(7):
        with pytest.raises(Unavailable):
            await chair.measures(192)
        chair.clock.advance(1)
    alarm = UnrecordedAlarm(session_id="s-2", rule="spo2_collapse", priority="high", since=chair.clock.system_now())
    beat = EvaluatorBeat(evaluator="e2", at=chair.clock.system_now(), store="gone", sessions=[], unrecorded=[alarm])
    board._heard.hear(CLINIC, beat)

    async def both() -> bool:
        shown = viewer.of("beat")[-1] if viewer.of("beat") else {"unrecorded": []}
        rules = {(row["session_id"], row["rule"]) for row in shown["unrecorded"]}
        return rules == {(chair.session_id, "sbp_critical_high"), ("s-2", "spo2_collapse")}

    await eventually(both)
    assert viewer.of("beat")[-1]["store"] == "gone"
    await board.noted(NURSE)
    monkeypatch.undo()
    await chair.memory.refresh()

    async def late() -> list[Document]:
        return await chair.mongo.plumbing("audit").find({"action": "board.read", "late": True})

    assert (await eventually(late))[0]["actor"] == "nurse-1"
