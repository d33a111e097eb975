"""The two public serving benchmarks, as they call: what they send, and what they read of the answer."""

import base64
import io

import httpx
import PIL.Image

from server.sleeping import sleeping_server

VLLM_OMNI = {
    "model": "sleeper",
    "prompt": "a red apple",
    "n": 1,
    "size": "512x512",
    "response_format": "b64_json",
    "seed": 42,
    "num_inference_steps": 4,
}
"""benchmarks/diffusion/diffusion_benchmark_serving.py; it sends no deadline and judges by the latency it sees."""

SGLANG = VLLM_OMNI | {"extra_body": {"num_frames": 1}}
"""bench_serving: the same with a field that means nothing to an image server, once /health says 200."""


async def test_the_benchmark_of_vllm_omni_finds_its_image() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        headers = {"Authorization": "Bearer EMPTY"}
        response = await client.post("/v1/images/generations", json=VLLM_OMNI, headers=headers)
    assert response.status_code == 200
    (image,) = response.json()["data"]
    assert PIL.Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).size == (512, 512)
    assert response.json()["tetriserve"]["slo_s"] == 2.0


async def test_the_benchmark_of_sglang_waits_for_health_and_finds_its_image() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/health")).status_code == 200
        response = await client.post("/v1/images/generations", json=SGLANG)
    assert response.status_code == 200
    assert base64.b64decode(response.json()["data"][0]["b64_json"])
    assert response.headers["X-TetriServe-Warning"] == "ignored fields: extra_body"


async def test_edits_are_said_to_be_missing_whatever_is_sent() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        files = {"image": b"x" * (2 << 20)}
        for path in ("/v1/images/edits", "/v1/images/variations"):
            response = await client.post(path, files=files, data={"prompt": "a hat"})
            assert response.status_code == 501
            assert response.json()["error"]["code"] == "not_implemented"
