"""All of the store is gone: the board goes on, says so, and shows what cannot be recorded; when it is back, all is well again."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import expect
from pymongo import MongoClient

from deploy.local import processes
from deploy.local.stack import Stack
from tests.journey.test_board import Ward, chair, signs_in
from tests.support.browser import chromium, need_chromium
from tests.support.eventually import eventually
from tests.support.stacks import fresh_stack

GONE_MS, BACK_MS = 30_000, 60_000  # architecture, promise 2: within 30 s


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    """Before anybody sits in a chair."""
    need_chromium()


@pytest.fixture(scope="module")
def alone() -> Iterator[Stack]:
    """A stack whose store may be stopped."""
    with fresh_stack() as stack:
        yield stack


async def known_to_every_evaluator(stack: Stack, session_id: str) -> None:
    with MongoClient[Any](stack.mongodb_uri) as client:

        async def look() -> bool:
            return any(session_id in row["sessions"] for row in client["notifications"]["watch"].find())

        await eventually(look, 30)


@pytest.mark.long
async def test_an_alarm_without_a_store_is_on_the_board_and_is_not_recorded(alone: Stack) -> None:
    ward = Ward(alone)
    await known_to_every_evaluator(alone, ward.session_id)
    async with chromium() as browser:
        early, late = await browser.new_page(), await browser.new_page()
        await early.goto(f"{alone.url('monitoring')}/board")
        await signs_in(early)
        await expect(chair(early, ward)).to_be_visible(timeout=GONE_MS)
        await asyncio.to_thread(processes.stop, alone.home, ["mongod"])
        ward.nurse.client.timeout = httpx.Timeout(30)
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            ward.measures("8480-6", 35)
        await late.goto(f"{alone.url('monitoring')}/board")
        await signs_in(late)
        for page in (early, late):
            await expect(chair(page, ward)).to_contain_text("NOT RECORDED: sbp collapse (high)", timeout=GONE_MS)
            await expect(page.locator("#store")).to_be_visible()
            await expect(chair(page, ward).locator(".label")).to_have_text("ADA")
            await expect(page.locator("#lost")).to_be_hidden()
        await asyncio.to_thread(alone.start_stores)
        for page in (early, late):
            await expect(page.locator("#store")).to_be_hidden(timeout=BACK_MS)
        ward.measures("8480-6", 35)
        for page in (early, late):
            await expect(chair(page, ward).locator(".count")).to_have_text("1 high", timeout=BACK_MS)
    with MongoClient[Any](alone.mongodb_uri) as client:

        async def owed() -> bool:
            return client.monitoring.audit.count_documents({"action": "board.read", "late": True}) >= 1

        await eventually(owed, 30)
