"""A real Chromium, the distribution's own: installed as root where it is missing, as Java is for Kafka."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from deploy.local.kafka_broker import need


def need_chromium() -> None:
    """Raises StackError, whose text says what to install. To fetch it takes a minute, in which a chair would be left alone."""
    need("chromium", "chromium")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """After `need_chromium`. As root there is no sandbox of its own."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        await browser.close()
