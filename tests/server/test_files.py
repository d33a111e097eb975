"""Formats of files, and where they can be had."""

import base64
import io
import math

import httpx
import PIL.Image
import pytest

from server.sleeping import CARD, sleeping_server
from tetriserve.server.config import ServerConfig
from tetriserve.server.results import ResultStore

BODY = {"prompt": "a red apple", "size": "256x256", "num_inference_steps": 1}
PATH = "/v1/images/generations"


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
async def test_an_image_comes_in_the_format_that_was_asked_for(name: str) -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = (await client.post(PATH, json=BODY | {"output_format": name})).json()
        by_url = (await client.post(PATH, json=BODY | {"output_format": name, "response_format": "url"})).json()
        file = await client.get(by_url["data"][0]["url"])
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))
    assert (picture.format or "").lower() == name
    assert picture.size == (256, 256)
    assert (answer["output_format"], answer["size"], answer["background"]) == (name, "256x256", "opaque")
    assert (file.status_code, file.headers["content-type"]) == (200, f"image/{name}")
    assert file.content == base64.b64decode(answer["data"][0]["b64_json"])
    assert "b64_json" not in by_url["data"][0]


@pytest.mark.parametrize(("quality", "share"), [("low", 0.5), ("medium", 1), ("auto", 1), ("high", 2), ("hd", 2)])
async def test_quality_is_a_number_of_steps(quality: str, share: float) -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = (await client.post(PATH, json={"prompt": "x", "size": "256x256", "quality": quality})).json()
        both = (await client.post(PATH, json=BODY | {"quality": quality})).json()
    steps = CARD.default_num_inference_steps
    assert answer["tetriserve"]["num_inference_steps"] == math.ceil(steps * share)
    assert answer["quality"] == quality
    assert both["tetriserve"]["num_inference_steps"] == 1


async def test_result_urls_begin_as_the_operator_says_and_end() -> None:
    config = ServerConfig(public_url="https://images.example/", result_ttl_s=1e-3)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        url = (await client.post(PATH, json=BODY | {"response_format": "url"})).json()["data"][0]["url"]
        assert url.startswith("https://images.example/v1/images/files/")
        gone = await client.get(url.removeprefix("https://images.example"))
    assert gone.status_code == 404
    assert gone.json()["error"]["code"] == "file_not_found"


def test_files_expire_and_make_room_for_newer_ones() -> None:
    now_s = [0.0]
    store = ResultStore(10.0, 100, lambda: now_s[0])
    first, second = store.put(b"x" * 60, "image/png"), store.put(b"y" * 30, "image/png")
    assert first != second
    assert len(first) >= 43  # 256 bits in base64
    found = store.get(first)
    assert found is not None
    assert found.data == b"x" * 60
    third = store.put(b"z" * 50, "image/png")
    assert (store.get(first), store.num_bytes) == (None, 80)
    now_s[0] = 10.0
    assert store.get(second) is None
    large = store.put(b"l" * 500, "image/png")
    assert store.get(large) is not None
    assert (store.get(third), store.num_bytes) == (None, 500)
