"""How long does a frame of the board take? Eight GPUs, 60 seconds, blocks of 0.12 s, none of which can be merged:
500 requests, each on another GPU every time, a fifth of them late.

Run as `python tests/server/bench_board.py` with `src` and `tests` on the path. The ceiling is a screen's 16.7 ms;
a live board moves by a pixel some 15 times a second, so it is drawn that often. The last line is JSON: milliseconds.
"""

import asyncio
import json
from pathlib import Path

from server.browser import chromium, opened
from server.sleeping import sleeping_server

MEASURE = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


async def main() -> None:
    viewport = {"viewport": {"width": 1280, "height": 800}}
    async with (
        sleeping_server() as server,
        chromium() as browser,
        opened(browser, f"{server.url}/?replay", **viewport) as (page, _),
    ):
        found = await page.evaluate(MEASURE)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
