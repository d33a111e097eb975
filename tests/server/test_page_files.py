"""The files of the page, without a browser."""

import re
from pathlib import Path

import httpx

from server.sleeping import sleeping_server
from tetriserve.server.config import ServerConfig
from tetriserve.server.page_routes import PAGE_DIR


async def test_the_page_needs_no_key_and_allows_no_foreign_or_inline_script() -> None:
    config = ServerConfig(api_keys={"ann": "a-key-of-sixteen-or-more"})
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        page = await client.get("/")
        files = re.findall(r'(?:src|href)="(/page/[^"]+)"', page.text)
        answers = [await client.get(path) for path in files]
        again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
        missing = await client.get("/page/..%2Fapp.py")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert files
    assert all(answer.status_code == 200 for answer in answers)
    assert (again.status_code, again.content) == (304, b"")
    assert missing.status_code == 404


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    for path in PAGE_DIR.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""(?:src|href|url|from|import)\s*[=(]?\s*["']?(?:https?:)?//""", text), path
        assert not re.search(r"<script>|<style>|\sstyle=|\son\w+=\"", text), path


def test_modules_import_only_what_is_there() -> None:
    for path in PAGE_DIR.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")):
            assert (Path(PAGE_DIR) / name).is_file(), f"{path.name} imports {name}"
