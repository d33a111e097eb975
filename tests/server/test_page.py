"""The page as people use it, in a real browser over the whole server."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from scheduler.builders import make_cost, make_request
from server.browser import chromium, needs_browser, opened
from server.sleeping import fast_cost, sleeping_server
from tetriserve.server.config import ServerConfig
from tetriserve.sim.results import run_row, schedule_rows
from tetriserve.sim.simulate import SimulationResult, simulate

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]
KEY = "a-key-of-sixteen-or-more"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


async def make(page: Page, prompt: str = "a red apple", deadline_s: str = "20", steps: str = "20") -> None:
    await expect(page.locator("#steps")).not_to_have_value("")  # else it may come amid what is typed
    await page.fill("#prompt", prompt)
    await page.fill("#deadline", deadline_s)
    await page.fill("#steps", steps)
    await page.click("#make")


async def test_an_image_is_made_shown_kept_and_found_on_the_board(browser: Browser) -> None:
    async with sleeping_server() as server, opened(browser, server.url) as (page, _):
        await expect(page.locator("#serving")).to_have_text("sleeper on 2 devices, policy default")
        await expect(page.locator("#size option")).to_have_count(3)
        await expect(page.locator("#negative-row")).to_be_hidden()  # this model has no negative prompts
        await expect(page.locator("#empty")).to_contain_text("idle")
        await make(page)
        card = page.locator(".shot:not(.making)")
        await expect(card).to_contain_text("On time")
        await expect(card.locator(".strip i")).to_have_count(20)
        assert await card.get_by_text("Save").get_attribute("download") == "a-red-apple.png"
        await expect(page.locator("#number-met")).to_have_text("100 % 1 of 1")

        await page.focus("#board")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator("#block-said")).to_contain_text(re.compile(r"img-1: .*20 of 20.*slack"))
        await expect(page.locator("#tip")).to_contain_text("on time")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Enter")
        await expect(page.locator("#detail-note")).to_have_text("a red apple")
        image = page.locator("#detail-image")
        assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 512
        await page.keyboard.press("Escape")

        await page.reload()
        await expect(page.locator(".shot")).to_have_count(1)
        clear = page.get_by_text("Remove all")
        seen = await clear.bounding_box()
        await expect(page.locator("#number-met")).to_have_text("100 % 1 of 1")
        assert await clear.bounding_box() == seen, "nothing jumps away from under the pointer while the page comes up"
        await clear.click()
        await expect(page.locator("#gallery-empty")).to_be_visible()


async def test_steps_and_unfinished_pictures_are_shown_and_cancelling_frees_the_gpus(browser: Browser) -> None:
    async with sleeping_server(cost=fast_cost(2, 0.5)) as server, opened(browser, server.url) as (page, _):
        await make(page, steps="200")
        card = page.locator(".shot.making")
        await expect(card).to_contain_text(re.compile(r"\d+ of 200 steps"))
        await expect(card.locator("img")).to_be_visible()
        server.executor.slow_down(20)  # it must not end before a slow browser has cancelled it
        await card.get_by_text("Cancel").click()
        await expect(page.locator(".shot")).to_have_count(0)
        await server.idle()
        assert server.executor.cancelled == ["img-1"]
        await page.click("#table-box summary")
        await expect(page.locator("#rows tr")).to_contain_text("cancelled")


async def test_what_is_refused_is_said_in_words(browser: Browser) -> None:
    config = ServerConfig(admission="reject")
    async with sleeping_server(config, cost=make_cost(2)) as server, opened(browser, server.url) as (page, complaints):
        await make(page, deadline_s="0.1", steps="200")
        await expect(page.locator("#trouble")).to_contain_text("Predicted to be there after")
        await expect(page.locator(".shot")).to_have_count(0)
        assert "429" in complaints.said.pop()


async def test_a_key_is_asked_for_and_then_everything_works(browser: Browser) -> None:
    config = ServerConfig(api_keys={"ann": KEY})
    async with sleeping_server(config) as server, opened(browser, server.url) as (page, complaints):
        await expect(page.locator("#trouble")).to_have_text("This server wants an API key.")
        complaints.said.clear()
        await page.fill("#key", KEY)
        await page.locator("#key").blur()
        await expect(page.locator("#trouble")).to_be_hidden()
        await make(page)
        await expect(page.locator(".shot:not(.making)")).to_contain_text("On time")
        await expect(page.locator("#number-met")).to_contain_text("1 of 1")


async def test_pictures_of_others_are_not_shown(browser: Browser) -> None:
    async with sleeping_server() as server, opened(browser, server.url) as (page, _), httpx.AsyncClient() as client:
        body = {"prompt": "a secret", "size": "256x256", "slo_ms": 9000}
        await client.post(f"{server.url}/v1/images/generations", json=body)
        await page.focus("#board")
        await expect(page.locator("#number-met")).to_contain_text("1 of 1")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Enter")
        await expect(page.locator("#detail-title")).to_have_text("img-1")
        await expect(page.locator("#detail-note")).to_contain_text("whoever asked for them")
        await expect(page.locator("#detail-image")).to_be_hidden()
        assert "secret" not in await page.content()


async def test_the_theme_is_the_systems_until_one_is_chosen_and_a_phone_has_room_for_all(
    browser: Browser,
) -> None:
    phone = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
    async with sleeping_server() as server, opened(browser, server.url, **phone) as (page, _):
        root = page.locator("html")
        await expect(root).to_have_attribute("data-theme", "dark")
        await page.click("#theme")
        await expect(root).to_have_attribute("data-theme", "light")
        await page.reload()
        await expect(root).to_have_attribute("data-theme", "light")
        assert await page.evaluate("document.documentElement.scrollWidth") == 390


def simulated() -> SimulationResult:
    requests = [make_request(f"r{index}", arrival_s=0.7 * index) for index in range(6)]
    return simulate(make_cost(4), requests, "default", 4)


async def test_a_simulation_is_replayed(browser: Browser, tmp_path: Path) -> None:
    result = simulated()
    schedule, results, rubbish = (tmp_path / name for name in ("schedule.json", "results.json", "rubbish.json"))
    document = {"config": {"gpus": 4}, "schedules": [schedule_rows("default", result)]}
    schedule.write_bytes(msgspec.json.encode(document))
    results.write_bytes(msgspec.json.encode({"runs": [run_row("default", result)]}))
    rubbish.write_text("{")
    async with sleeping_server() as server, opened(browser, f"{server.url}/?replay") as (page, _):
        trouble = page.locator("#replay-trouble")
        await page.set_input_files("#file", results)
        await expect(trouble).to_contain_text("--schedule FILE")
        await page.set_input_files("#file", rubbish)
        await expect(trouble).to_contain_text("not JSON")
        await page.set_input_files("#file", schedule)
        await expect(trouble).to_be_hidden()
        await page.click("#play")
        await expect(page.locator("#play")).to_have_text("Play")
        await page.click("#table-box summary")
        await page.locator("#scrub").fill(await page.get_attribute("#scrub", "max") or "")
        met = sum(outcome.met_deadline for outcome in result.outcomes)
        await expect(page.locator("#number-met")).to_contain_text(f"{met} of 6")
        await expect(page.locator("#rows tr")).to_have_count(6)
        last = next(outcome for outcome in result.outcomes if outcome.request.request_id == "r5")
        row = page.locator("#rows tr").first
        await expect(row).to_contain_text("r5")
        steps = last.request.num_inference_steps
        await expect(row).to_contain_text(f"{steps} of {steps}")
        await page.locator("#scrub").fill("0.1")
        await expect(page.locator("#rows tr")).to_have_count(1)


async def test_the_docs_show_and_try_the_whole_api_and_ask_nothing_of_other_hosts(browser: Browser) -> None:
    async with sleeping_server() as server, opened(browser, f"{server.url}/docs") as (page, _):
        described = await (await page.request.get(f"{server.url}/openapi.json")).json()
        await expect(page.locator(".opblock")).to_have_count(sum(len(one) for one in described["paths"].values()))
        health = page.locator(".opblock", has=page.locator("[data-path='/health']"))
        await health.locator("button.opblock-summary-control").click()
        await health.get_by_role("button", name="Try it out").click()
        await health.get_by_role("button", name="Execute").click()
        await expect(health.locator(".live-responses-table .response .response-col_status")).to_have_text("200")
