"""The client: open loop, latency from the intended start, every kind of failure told apart."""

import asyncio
import time

import pytest

from bench.foreign import Foreign
from tetriserve.bench.client import send_all, warm_up
from tetriserve.bench.reply import Reply
from tetriserve.bench.target import Target, meet
from tetriserve.core.errors import EngineError
from tetriserve.workload.trace import TraceEntry


def entry(index: int, arrival_s: float = 0.0, slo_s: float = 5.0, size: int = 64) -> TraceEntry:
    return TraceEntry(f"r{index}", arrival_s, size, size, 4, slo_s, "a cat")


async def test_nobody_waits_for_the_answer_of_another(foreign: Foreign) -> None:
    foreign.delays_s = {0: 0.5}
    replies = await send_all(Target(foreign.url), [entry(0), entry(1, 0.05)])
    assert [reply.entry.request_id for reply in replies] == ["r0", "r1"]
    assert replies[0].latency_s > 0.5
    assert replies[1].latency_s < 0.4
    assert foreign.most_at_once == 2


async def test_latency_counts_from_the_intended_start(foreign: Foreign) -> None:
    """One connection, and the server stalls for the first: the second was due meanwhile, and its wait counts."""
    foreign.delays_s = {0: 0.6}
    replies = await send_all(Target(foreign.url, max_connections=1), [entry(0), entry(1, 0.1, slo_s=0.3)])
    assert foreign.most_at_once == 1
    assert replies[1].latency_s > 0.45
    assert replies[1].ok
    assert not replies[1].met_deadline


async def test_a_client_that_is_late_counts_its_own_lateness(foreign: Foreign) -> None:
    async def block() -> None:
        await asyncio.sleep(0.02)
        time.sleep(0.3)  # as a client does that has too much to do

    blocked = asyncio.create_task(block())
    (reply,) = await send_all(Target(foreign.url), [entry(0, 0.1)])
    await blocked
    assert 0.15 < reply.send_lag_s < reply.latency_s


async def test_the_body_is_what_other_benchmarks_send_and_the_deadline(foreign: Foreign) -> None:
    target = Target(foreign.url, "flux", "secret", {"guidance_scale": 3.5})
    await send_all(target, [entry(0)])
    assert foreign.bodies == [
        {
            "model": "flux",
            "prompt": "a cat",
            "n": 1,
            "size": "64x64",
            "response_format": "b64_json",
            "seed": 0,
            "num_inference_steps": 4,
            "slo_ms": 5000.0,
            "guidance_scale": 3.5,
        }
    ]
    assert foreign.headers[0]["Authorization"] == "Bearer secret"
    await send_all(Target(foreign.url, send_slo=False), [entry(0)])
    assert "slo_ms" not in foreign.bodies[1]
    assert "secret" not in repr(target)


async def test_every_failure_has_a_code(foreign: Foreign) -> None:
    foreign.statuses = {1: 429, 2: 500, 3: 0, 4: 204}
    foreign.delays_s = {5: 1.5}
    replies = await send_all(Target(foreign.url, timeout_s=1.0), [entry(index) for index in range(6)])
    assert [reply.code for reply in replies] == [None, "429", "500", "connection", "no image", "timeout"]
    assert [reply.met_deadline for reply in replies] == [True] + [False] * 5
    assert replies[1].error == "too many"
    assert replies[5].latency_s == pytest.approx(1.0, abs=0.4)


async def test_a_stopped_run_tells_who_is_past_the_deadline_already(foreign: Foreign) -> None:
    foreign.delays_s = {1: 0.8, 2: 0.8}
    told: list[Reply] = []
    trace = [entry(0), entry(1, slo_s=0.1), entry(2, slo_s=9.0), entry(3, arrival_s=60.0)]
    task = asyncio.create_task(send_all(Target(foreign.url), trace, told.append))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(reply.entry.request_id, reply.code) for reply in told] == [("r0", None), ("r1", "unfinished")]


async def test_warm_up_sends_each_size_once_and_alone(foreign: Foreign) -> None:
    foreign.delays_s = {0: 0.1, 1: 0.1}
    await warm_up(Target(foreign.url), [entry(0), entry(1, size=128), entry(2)], 1, lambda reply: None)
    assert sorted(body["size"] for body in foreign.bodies) == ["128x128", "64x64"]
    assert foreign.most_at_once == 1
    foreign.statuses = {0: 500}
    with pytest.raises(EngineError, match="warm-up at 64x64 failed with 500: too many"):
        await warm_up(Target(foreign.url), [entry(0)], 1, lambda reply: None)


async def test_a_server_is_waited_for_and_asked_for_its_model(foreign: Foreign) -> None:
    foreign.num_unhealthy = 2
    target, info = await meet(Target(foreign.url), wait_s=5.0)
    assert target.model == info.model == "black-forest-labs/FLUX.1"
    assert info.policy is info.num_devices is None
    assert (await meet(Target(foreign.url, "mine")))[0].model == "mine"


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"http://127.0.0.1:9: no answer; is the server up\?"):
        await meet(Target("http://127.0.0.1:9"))
