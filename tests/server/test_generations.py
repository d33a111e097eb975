import base64
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import PIL.Image
import PIL.ImageChops
import pytest

from server.conftest import RunningServer


def image_of(response: httpx.Response, index: int = 0) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(response.json()["data"][index]["b64_json"])))


def differ(one: PIL.Image.Image, other: PIL.Image.Image) -> bool:
    """Whether two pictures differ by more than the last bit, which may hang on the degree."""
    assert one.size == other.size
    extrema = PIL.ImageChops.difference(one, other).getextrema()
    return max(high for _, high in extrema) > 1


def test_the_answer_tells_how_the_image_was_made(server: RunningServer) -> None:
    response = server.post(prompt="a red cat", size="64x96", num_inference_steps=3, seed=5, slo_ms=60_000)
    report = response.json()["tetriserve"]
    assert image_of(response).size == (64, 96)
    assert report["met_deadline"]
    assert report["slo_s"] == pytest.approx(60)
    assert 0 <= report["queue_s"] < report["latency_s"] < 60
    assert len(report["degrees"]) == 3
    assert set(report["degrees"]) <= {1, 2}
    assert report["gpu_seconds"] > 0
    assert report["seed"] == 5


def test_an_impossible_deadline_is_missed_and_said_so(server: RunningServer) -> None:
    response = server.post(prompt="a red cat", size="64x64", slo_ms=0.001)
    assert response.status_code == 200
    assert response.json()["tetriserve"]["met_deadline"] is False


def test_the_seed_decides_the_image_and_is_reported(server: RunningServer) -> None:
    drawn = server.post(prompt="a cat", size="64x64")
    again = server.post(prompt="a cat", size="64x64", seed=drawn.json()["tetriserve"]["seed"])
    other = server.post(prompt="a cat", size="64x64")
    assert not differ(image_of(drawn), image_of(again))
    assert differ(image_of(drawn), image_of(other))


def test_n_images_have_consecutive_seeds_and_one_deadline(server: RunningServer) -> None:
    response = server.post(prompt="a cat", size="64x64", n=3, seed=10)
    second = server.post(prompt="a cat", size="64x64", seed=11)
    report = response.json()["tetriserve"]
    assert [image["seed"] for image in report["images"]] == [10, 11, 12]
    assert report["latency_s"] == max(image["latency_s"] for image in report["images"])
    assert not differ(image_of(response, 1), image_of(second))


def test_unknown_fields_are_ignored_with_a_warning_header(server: RunningServer) -> None:
    response = server.post(prompt="a cat", size="64x64", extra_body={"x": 1}, style="vivid", user="me")
    assert response.status_code == 200
    assert response.headers["X-TetriServe-Warning"] == "ignored fields: extra_body, style"


def test_a_prompt_that_is_cut_is_said_so(server: RunningServer) -> None:
    response = server.post(prompt="cat " * 2_000, size="64x64")
    assert any("token" in warning for warning in response.json()["tetriserve"]["warnings"])
    assert "token" in response.headers["X-TetriServe-Warning"]


def test_any_text_at_all_gives_a_picture(server: RunningServer) -> None:
    for prompt in ("🍎", "яблоко 苹果", "\u202e\x00 a cat", "zzzzqqqq"):
        assert server.post(prompt=prompt, size="64x64").status_code == 200


def test_an_image_is_the_same_alone_and_among_others(server: RunningServer) -> None:
    alone = image_of(server.post(prompt="a cat", size="128x128", seed=1))
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(server.post, prompt="a dog", size="64x64", seed=seed) for seed in range(6)]
        among = pool.submit(server.post, prompt="a cat", size="128x128", seed=1)
    assert not differ(alone, image_of(among.result()))
    assert all(other.result().status_code == 200 for other in others)


def test_the_default_deadline_is_the_papers_or_what_this_machine_can_do(server: RunningServer) -> None:
    response = server.post(prompt="a cat", size="64x64")
    assert response.json()["tetriserve"]["slo_s"] >= 1.5


def test_the_official_openai_client_works_unchanged(server: RunningServer) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    answer = client.images.generate(prompt="a red cat", model=client.models.list().data[0].id, size="128x128", n=2)  # type: ignore[call-overload]
    assert len(answer.data) == 2
    assert PIL.Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json))).size == (128, 128)


def test_null_means_the_default(server: RunningServer) -> None:
    response = server.post(prompt="a cat", n=None, size=None, seed=None, response_format=None)
    assert response.status_code == 200
    assert len(response.json()["data"]) == 1


def test_a_model_is_found_by_its_name(server: RunningServer) -> None:
    name = httpx.get(f"{server.url}/v1/models").json()["data"][0]["id"]
    assert httpx.get(f"{server.url}/v1/models/{name}").json()["id"] == name
    assert httpx.get(f"{server.url}/v1/models/other").status_code == 404


def test_health_and_documentation_are_there(server: RunningServer) -> None:
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.json()["status"], health.json()["num_devices"]) == (200, "ok", 2)
    schema = httpx.get(f"{server.url}/openapi.json").json()
    assert "slo_ms" in schema["components"]["schemas"]["ImagesRequest"]["properties"]
