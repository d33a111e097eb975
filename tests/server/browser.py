"""A page in headless Chromium, Debian's own: nothing is downloaded."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
"""What is expected comes at once, unless the machine is very busy."""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


@dataclass
class Complaints:
    """What the browser complained of, and what was asked of other hosts than the server."""

    said: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser: starting it takes longer than most tests, so it is started once."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser: Browser, url: str, **context: Any) -> AsyncIterator[tuple[Page, Complaints]]:
    """The page at an address, for somebody who was never there. In the end there must be no complaints left."""
    somebody = await browser.new_context(**context)
    page = await somebody.new_page()
    complaints = Complaints()
    origin = "/".join(url.split("/")[:3])
    page.on("pageerror", lambda error: complaints.said.append(str(error)))
    page.on("console", lambda line: complaints.said.append(line.text) if line.type == "error" else None)
    page.on("request", lambda one: _note(one.url, origin, complaints))
    await page.goto(url)
    yield page, complaints
    await somebody.close()
    assert complaints == Complaints()


def _note(url: str, origin: str, complaints: Complaints) -> None:
    if not url.startswith((origin, "data:", "blob:")):
        complaints.foreign.append(url)
