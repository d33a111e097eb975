"""The gate, as callers meet it."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest

from server.sleeping import Sleeper, make_service, sleeping_server
from tetriserve.core.errors import InvalidRequestError
from tetriserve.server.admission import Gate
from tetriserve.server.call import Call, read_call
from tetriserve.server.config import ServerConfig
from tetriserve.server.errors import RejectedError
from tetriserve.server.wire.images import ImagesRequest

PATH = "/v1/images/generations"
LARGE = {"prompt": "x", "size": "1024x1024", "num_inference_steps": 10}
"""2.1 s on both devices."""
LARGE_BODY = {name: value for name, value in LARGE.items() if name != "prompt"}
KEYS = {"ann": "ann-0123456789abcdef", "bob": "bob-0123456789abcdef"}


def call_of(config: ServerConfig, caller: str = "ann", **body: Any) -> tuple[Gate, Call]:
    service, _ = make_service()
    return Gate(service, config), read_call(service, config, ImagesRequest(prompt="x", **body), None, caller)


async def post(server: Sleeper, **body: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        return await client.post(PATH, json=body)


async def test_what_cannot_be_met_is_refused_with_the_prediction_and_when_to_come_back() -> None:
    async with sleeping_server(ServerConfig(admission="reject")) as server:
        first = asyncio.create_task(post(server, **LARGE, slo_ms=10_000))
        while server.service.runtime.num_in_flight == 0:
            await asyncio.sleep(0.005)
        refused = await post(server, **LARGE, slo_ms=2500)
        small = await post(server, prompt="x", size="256x256", num_inference_steps=1, slo_ms=5000)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (429, "deadline_unmeetable", "rate_limit_error")
    assert error["predicted_latency_ms"] > 2500
    assert int(refused.headers["retry-after"]) >= 1
    assert "2.50 s" in error["message"]
    assert small.status_code == 200


def test_what_was_let_in_counts_before_the_scheduler_hears_of_it() -> None:
    """2.1 s each: two are met in 5 s. One whose job could not be written leaves without having arrived."""
    gate, call = call_of(ServerConfig(admission="reject"), **LARGE_BODY, slo_ms=5000)
    others = [replace(call, request_id=name) for name in ("second", "third")]
    gate.admit(call)
    gate.admit(others[0])
    with pytest.raises(RejectedError, match="the deadline could not be met"):
        gate.admit(others[1])
    gate.leave(call)
    gate.admit(others[1])


async def test_who_has_arrived_is_counted_once() -> None:
    """2.1 s each on both devices: two of them fit into 5.5 s, three don't."""
    async with sleeping_server(ServerConfig(admission="reject")) as server:
        first = asyncio.create_task(post(server, **LARGE, slo_ms=10_000))
        while server.service.runtime.num_in_flight == 0:
            await asyncio.sleep(0.005)
        second = asyncio.create_task(post(server, **LARGE, slo_ms=5500))
        while server.service.runtime.num_in_flight < 2 and not second.done():
            await asyncio.sleep(0.005)
        let_in = not second.done()
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
    assert let_in


async def test_images_are_due_as_much_earlier_as_answers_have_taken() -> None:
    async with sleeping_server() as server:
        body = ImagesRequest(prompt="x", size="512x512", num_inference_steps=1)
        before = read_call(server.service, ServerConfig(), body, None, "ann")
        await post(server, prompt="x", size="512x512", num_inference_steps=1)
        after = read_call(server.service, ServerConfig(), body, None, "ann")
        other = read_call(server.service, ServerConfig(), body.model_copy(update={"n": 2}), None, "ann")
    assert [request.due_s for request in before.requests()] == [before.deadline_s]
    assert [after.deadline_s - 1.0 < request.due_s < after.deadline_s for request in after.requests()] == [True]
    assert other.delivery_s == 0.0


async def test_best_effort_takes_what_cannot_be_met() -> None:
    async with sleeping_server() as server:
        late = await post(server, prompt="x", size="256x256", num_inference_steps=5, slo_ms=1)
    assert (late.status_code, late.json()["tetriserve"]["met_deadline"]) == (200, False)


async def test_degrade_takes_steps_away_down_to_what_the_caller_allows() -> None:
    async with sleeping_server(ServerConfig(admission="degrade")) as server:
        body = {"prompt": "x", "size": "512x512", "num_inference_steps": 40, "slo_ms": 1000}
        degraded = await post(server, **body, min_num_inference_steps=4)
        strict = await post(server, **body, min_num_inference_steps=35)
        silent = await post(server, **body)
    report = degraded.json()["tetriserve"]
    assert degraded.status_code == 200
    assert 15 <= report["num_inference_steps"] < 23  # 45 ms a step on both devices
    assert len(report["degrees"]) == report["num_inference_steps"]
    assert report["requested_num_inference_steps"] == 40
    assert "instead of 40" in degraded.headers["X-TetriServe-Warning"]
    assert (strict.status_code, silent.status_code) == (429, 429)


async def test_the_queue_is_bounded() -> None:
    async with sleeping_server(ServerConfig(max_queue=3)) as server, httpx.AsyncClient(base_url=server.url) as client:
        tasks = [asyncio.create_task(client.post(PATH, json=LARGE | {"num_inference_steps": 1})) for _ in range(3)]
        while server.service.runtime.num_in_flight < 3:
            await asyncio.sleep(0.005)
        refused = await client.post(PATH, json=LARGE)
        too_many = await client.post(PATH, json=LARGE | {"n": 4})
        assert [(await task).status_code for task in tasks] == [200] * 3
        again = await client.post(PATH, json=LARGE | {"num_inference_steps": 1, "n": 3})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert refused.headers["retry-after"] == "1"
    assert too_many.status_code == 429
    assert again.status_code == 200


@pytest.mark.parametrize(("body", "header", "slo_s"), [({}, "7000", 7.0), ({"slo_ms": 500}, "7000", 0.5)])
async def test_a_header_can_carry_the_deadline(body: dict[str, object], header: str, slo_s: float) -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        job = {"prompt": "x", "size": "256x256", "num_inference_steps": 1}
        answer = await client.post(PATH, json=job | body, headers={"X-SLO-Ms": header})
        bad = [await client.post(PATH, json=job, headers={"X-SLO-Ms": value}) for value in ("soon", "-1", "nan", "inf")]
    assert answer.json()["tetriserve"]["slo_s"] == pytest.approx(slo_s)
    assert [response.status_code for response in bad] == [400] * 4


@pytest.mark.parametrize(
    ("name", "slo_s", "weight"),
    [(None, 2.0, 1.0), ("interactive", 1.6, 4.0), ("standard", 2.0, 1.0), ("batch", 20, 0.25)],
)
def test_a_class_decides_deadline_and_weight(name: str | None, slo_s: float, weight: float) -> None:
    _, call = call_of(ServerConfig(), size="512x512", num_inference_steps=5, service_class=name)
    assert call.params.slo_s == pytest.approx(slo_s)
    assert [request.weight for request in call.requests()] == [weight]
    with pytest.raises(InvalidRequestError, match="interactive"):
        call_of(ServerConfig(), service_class="gold")


def test_under_overload_a_key_that_asks_for_much_leaves_room_for_others_and_counts_less() -> None:
    gate, ann = call_of(ServerConfig(max_queue=20, api_keys=KEYS))
    _, bob = call_of(ServerConfig(), caller="bob")
    admitted: Counter[str] = Counter()
    weights: dict[str, float] = {}
    for call in [*[ann] * 30, bob, bob, bob]:
        try:
            weights[call.caller] = gate.admit(call).params.weight
            admitted[call.caller] += 1
        except RejectedError as error:
            assert error.code == "queue_share_used_up"
    assert admitted == {"ann": 10, "bob": 3}
    late = gate.admit(bob)
    assert (weights["bob"], late.params.weight) == (1.0, 1.0)
    for _ in range(4):
        gate.leave(ann)
    assert gate.admit(ann).params.weight < 1.0


def test_a_single_key_may_fill_the_queue() -> None:
    gate, call = call_of(ServerConfig(max_queue=5, api_keys={"ann": KEYS["ann"]}))
    for _ in range(5):
        assert gate.admit(call).params.weight == 1.0
    with pytest.raises(RejectedError, match="takes 5"):
        gate.admit(call)
    gate.leave(call)
    gate.admit(call)
