import math

import httpx
import pytest

from server.conftest import RunningServer

CASES = [
    ({}, 400, "prompt", ["required"]),
    ({"prompt": ""}, 400, "prompt", ["1 character"]),
    ({"prompt": " \n"}, 400, "prompt", ["empty"]),
    ({"prompt": "x" * 32_001}, 400, "prompt", ["32000"]),
    ({"prompt": 5}, 400, "prompt", ["5"]),
    ({"prompt": "x", "negative_prompt": "x" * 32_001}, 400, "negative_prompt", ["32000"]),
    ({"prompt": "x", "size": "0x0"}, 400, "size", ["0x0", "16"]),
    ({"prompt": "x", "size": "17x17"}, 400, "size", ["17x17", "16"]),
    ({"prompt": "x", "size": "100000x100000"}, 400, "size", ["100000x100000", "16,384"]),
    ({"prompt": "x", "size": "big"}, 400, "size", ["big", "WIDTHxHEIGHT"]),
    ({"prompt": "x", "n": 0}, 400, "n", ["0", "1"]),
    ({"prompt": "x", "n": 99}, 400, "n", ["99", "10"]),
    ({"prompt": "x", "num_inference_steps": 0}, 400, "num_inference_steps", ["0", "1"]),
    ({"prompt": "x", "num_inference_steps": 10**9}, 400, "num_inference_steps", ["1000000000", "200"]),
    ({"prompt": "x", "slo_ms": -1}, 400, "slo_ms", ["-1", "0"]),
    ({"prompt": "x", "slo_ms": "soon"}, 400, "slo_ms", ["soon", "number"]),
    ({"prompt": "x", "guidance_scale": 1e9}, 400, "guidance_scale", ["1000000000.0", "100"]),
    ({"prompt": "x", "seed": -1}, 400, "seed", ["-1", "0"]),
    ({"prompt": "x", "response_format": "file"}, 400, "response_format", ["file", "b64_json"]),
    ({"prompt": "x", "response_format": "url", "stream": True}, 400, "response_format", ["url", "b64_json"]),
    ({"prompt": "x", "background": True, "stream": True}, 400, "stream", ["background"]),
    ({"prompt": "x", "background": "transparent"}, 400, "background", ["transparent", "opaque"]),
    ({"prompt": "x", "output_format": "gif"}, 400, "output_format", ["gif", "png"]),
    ({"prompt": "x", "output_compression": 50}, 400, "output_compression", ["50", "png", "100"]),
    ({"prompt": "x", "output_format": "webp", "output_compression": 101}, 400, "output_compression", ["101", "100"]),
    ({"prompt": "x", "quality": "best"}, 400, "quality", ["best", "high"]),
    ({"prompt": "x", "stream": True, "partial_images": 4}, 400, "partial_images", ["4", "3"]),
    ({"prompt": "x", "service_class": "gold"}, 400, "service_class", ["gold", "interactive"]),
    ({"prompt": "x", "num_inference_steps": 2, "min_num_inference_steps": 3}, 400, "min_num_inference_steps", ["3"]),
    ({"prompt": "x", "model": "other"}, 404, "model", ["other"]),
]


@pytest.mark.parametrize(("body", "status", "param", "words"), CASES)
def test_a_bad_field_is_named_with_its_value_and_the_limit(
    server: RunningServer, body: dict[str, object], status: int, param: str, words: list[str]
) -> None:
    response = server.post(**body)
    error = response.json()["error"]
    assert response.status_code == status
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert all(word in error["message"] for word in words), error["message"]
    assert len(error["message"]) < 300


BODIES = [
    b'{"prompt":',
    b"[]",
    b"",
    b"\xff\xfe",
    b'{"prompt": "x", "guidance_scale": NaN}',
    b'{"prompt": "half a surrogate pair: \\ud800"}',
]


@pytest.mark.parametrize("content", BODIES)
def test_a_body_that_json_or_unicode_does_not_allow_is_refused(server: RunningServer, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{server.url}/v1/images/generations", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_a_body_that_is_not_sent_as_json_is_told_so(server: RunningServer) -> None:
    response = httpx.post(f"{server.url}/v1/images/generations", content=b'{"prompt": "x"}')
    assert response.status_code == 400
    assert "Content-Type" in response.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: RunningServer) -> None:
    response = server.post(prompt="x", junk="x" * (1 << 20))
    assert response.status_code == 413
    assert "1,048,576" in response.json()["error"]["message"]
    chunked = httpx.post(f"{server.url}/v1/images/generations", content=iter([b"{}"]))
    assert chunked.status_code == 411


def test_line_breaks_in_a_field_name_stay_out_of_the_header(server: RunningServer) -> None:
    response = server.post(**{"prompt": "a cat", "size": "64x64", "x\r\nSet-Cookie: a=b": 1})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert "Set-Cookie" in response.headers["X-TetriServe-Warning"]


def test_wrong_method_and_wrong_path_have_the_same_error_shape(server: RunningServer) -> None:
    for response, status in (
        (httpx.put(f"{server.url}/v1/images/generations"), 405),
        (httpx.get(f"{server.url}/v1/nothing"), 404),
    ):
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_the_server_goes_on_serving_after_all_that(server: RunningServer) -> None:
    response = server.post(prompt="a red cat", size="64x64")
    assert response.status_code == 200
    assert math.isfinite(response.json()["tetriserve"]["latency_s"])
