"""The state machine, event by event."""

from dataclasses import replace

import pytest

from scheduler.builders import MEDIUM, SMALL, make_cost, make_request, run
from scheduler.driver import Driver, fifo, steps_policy
from tetriserve.core.chunk import Stage
from tetriserve.core.events import (
    Arrived,
    Cancelled,
    Tick,
)
from tetriserve.core.outcome import CANCELLED
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.view import Assignment, Plan


def test_a_request_becomes_an_encoding_its_steps_and_a_decoding() -> None:
    driver = fifo()
    driver.arrive("a")
    assert [chunk.stage for chunk in driver.chunks] == [Stage.ENCODE, Stage.DENOISE, Stage.DECODE]
    assert driver.chunks[1].first_steps == (0,)
    assert driver.chunks[1].num_steps == 10
    for chunk in driver.chunks:
        assert driver.completed == []
        driver.done(chunk)
    (outcome,) = driver.completed
    assert outcome.error is None
    assert outcome.degrees == (1,) * 10
    assert (outcome.finished_s, outcome.queue_s, outcome.gpu_seconds) == (3.0, 0.0, 3.0)
    assert driver.scheduler.num_unfinished == 0


def test_planning_waits_for_the_tick_that_ends_the_instant() -> None:
    driver = fifo()
    driver.send(Arrived(make_request("a")))
    driver.send(Arrived(make_request("b")))
    assert driver.chunks == []
    assert driver.wakes == [0.0]
    driver.send(Tick())
    assert {chunk.request_ids for chunk in driver.chunks} == {("a",), ("b",)}


def test_the_next_chunk_is_committed_before_the_running_one_ends() -> None:
    """One device, two images of ten 80 ms steps: the second is queued 5 ms before the first one's predicted end."""
    driver = fifo(1)
    driver.arrive("a", "b")
    driver.done(driver.chunks[0], 0.0)
    driver.send(Tick())
    assert len(driver.chunks) == 3
    assert driver.wakes[-1] == pytest.approx(0.8 - 0.005)
    driver.now_s = driver.wakes[-1]
    driver.send(Tick())
    assert [chunk.request_ids[0] for chunk in driver.chunks] == ["a"] * 3 + ["b"] * 3


def test_no_device_waits_for_the_scheduler_in_a_busy_simulation() -> None:
    requests = [make_request(f"r{i:02d}", MEDIUM) for i in range(20)]
    result, _ = run(requests, "fixed-sp2", 8)
    assert result.gpu_utilization == pytest.approx(1.0)


def test_a_third_chunk_waits_until_the_first_has_ended() -> None:
    driver = fifo(1, ahead_s=100.0)
    driver.arrive("a", "b", "c")
    driver.done(driver.chunks[0], 0.0)
    driver.send(Tick())
    driver.send(Tick())
    assert {chunk.request_ids[0] for chunk in driver.chunks} == {"a", "b"}
    for chunk in driver.chunks[1:4]:
        driver.done(chunk)
    driver.send(Tick())
    assert {chunk.request_ids[0] for chunk in driver.chunks} == {"a", "b", "c"}


def test_a_failed_request_is_completed_after_its_last_chunk_and_others_go_on() -> None:
    driver = fifo()
    driver.arrive("a", "b")
    of_a = [chunk for chunk in driver.chunks if chunk.request_ids == ("a",)]
    of_b = [chunk for chunk in driver.chunks if chunk.request_ids == ("b",)]
    driver.done(of_a[0])
    driver.fail(of_a[1], "a")
    assert driver.completed == []
    driver.fail(of_a[2], "a", code="no_latents")
    (failed,) = driver.completed
    assert (failed.error_code, failed.error, failed.degrees) == ("out_of_memory", "no memory left", ())
    for chunk in of_b:
        driver.done(chunk)
    assert driver.completed[1].error is None


def test_a_failed_request_gets_no_further_chunk() -> None:
    scheduler = Scheduler(steps_policy(2, "a"), make_cost(1), 1, SchedulerConfig(ahead_s=0.0))
    driver = Driver(scheduler)
    driver.arrive("a")
    driver.fail(driver.chunks[0], "a")
    driver.done(driver.chunks[1])
    driver.send(Tick())
    assert len(driver.chunks) == 2
    assert driver.completed[0].error_code == "out_of_memory"


def test_in_a_batch_only_the_failed_member_ends() -> None:
    driver = Driver(Scheduler(steps_policy(4, "a", "b"), make_cost(1), 1))
    driver.arrive("a", "b", size=SMALL, num_steps=4)
    encode_a, encode_b, steps, decode_a, decode_b = driver.chunks
    assert steps.request_ids == ("a", "b")
    assert steps.first_steps == (0, 0)
    driver.done(encode_a)
    driver.done(encode_b)
    driver.fail(steps, "a")
    driver.done(decode_a)
    driver.done(decode_b)
    by_id = {outcome.request.request_id: outcome for outcome in driver.completed}
    assert by_id["a"].error_code == "out_of_memory"
    assert by_id["b"].error is None
    assert by_id["b"].gpu_seconds == pytest.approx(1 + 0.5 + 1)


def test_a_waiting_request_that_is_cancelled_ends_at_once() -> None:
    driver = fifo(1)
    driver.arrive("a", "b")
    driver.send(Cancelled("b"))
    (outcome,) = driver.completed
    assert outcome.request.request_id == "b"
    assert outcome.cancelled
    assert driver.cancels == []
    for chunk in driver.chunks:
        driver.done(chunk)
    assert [one.cancelled for one in driver.completed] == [True, False]


def test_a_running_request_that_is_cancelled_leaves_at_its_chunks_end_and_its_device_is_planned_with_at_once() -> None:
    driver = fifo(1)
    driver.arrive("a", "b")
    encode, steps, decode = driver.chunks
    driver.done(encode, 0.0)
    driver.send(Cancelled("a"))
    driver.send(Cancelled("a"))
    driver.send(Tick())
    assert (driver.cancels, driver.completed) == (["a"], [])
    driver.done(steps, 0.8)
    driver.fail(decode, "a", code=CANCELLED)
    (outcome,) = driver.completed
    assert (outcome.cancelled, outcome.degrees, outcome.met_deadline) == (True, (), False)
    driver.send(Tick())
    assert driver.chunks[3].request_ids == ("b",)
    driver.send(Cancelled("a"))
    assert len(driver.completed) == 1


def test_a_device_is_free_for_others_while_void_chunks_wait_on_it() -> None:
    driver = fifo(1, ahead_s=100.0)
    driver.arrive("a", "b", "c")
    driver.done(driver.chunks[0], 0.0)
    driver.send(Tick())
    assert {chunk.request_ids[0] for chunk in driver.chunks} == {"a", "b"}
    driver.send(Cancelled("b"))
    driver.send(Tick())
    assert {chunk.request_ids[0] for chunk in driver.chunks} == {"a", "b", "c"}


def test_predictions_follow_what_really_happened() -> None:
    """A chunk that ends late moves the time at which the device is asked for again."""
    driver = fifo(1)
    driver.arrive("a", "b")
    driver.done(driver.chunks[0], 0.3)
    driver.send(Tick())
    assert driver.wakes[-1] == pytest.approx(0.3 + 0.8 - 0.005)


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (Assignment(("a",), (1, 2), 1), "aligned"),
        (Assignment(("a",), (2,), 1), "exceed"),
        (Assignment(("z",), (0,), 1), "not known"),
        (Assignment(("a",), (0,), 11), "steps"),
        (Assignment(("a",), (0,), 0), "steps"),
        (Assignment((), (0,), 1), "without requests"),
        (Assignment(("a", "a"), (0,), 1), "twice"),
        (Assignment(("a", "b"), (0,), 1), "unequal"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_a_bug(assignment: Assignment, complaint: str) -> None:
    scheduler = Scheduler(lambda view, memory: (Plan((assignment,)), None), make_cost(2), 2)
    scheduler.on(Arrived(make_request("a")), 0.0)
    scheduler.on(Arrived(make_request("b", SMALL)), 0.0)
    with pytest.raises(AssertionError, match=complaint):
        scheduler.on(Tick(), 0.0)


def test_a_device_booked_twice_is_a_bug() -> None:
    plan = Plan((Assignment(("a",), (0,), 1), Assignment(("b",), (0, 1), 1)))
    scheduler = Scheduler(lambda view, memory: (plan, None), make_cost(2), 2)
    for request_id in ("a", "b"):
        scheduler.on(Arrived(make_request(request_id)), 0.0)
    with pytest.raises(AssertionError, match="booked twice"):
        scheduler.on(Tick(), 0.0)


def test_a_policy_that_waits_forever_is_a_bug() -> None:
    scheduler = Scheduler(lambda view, memory: (Plan(), None), make_cost(1), 1)
    scheduler.on(Arrived(make_request("a")), 0.0)
    with pytest.raises(AssertionError, match="forever"):
        scheduler.on(Tick(), 0.0)


def test_the_same_id_can_come_again_after_its_end() -> None:
    driver = fifo(1)
    for _ in range(2):
        driver.arrive("a")
        for chunk in driver.chunks[-3:]:
            driver.done(chunk)
    assert len(driver.completed) == 2


def test_equal_arrivals_are_served_in_order_of_id() -> None:
    driver = fifo(1)
    driver.arrive("b", "a")
    assert driver.chunks[0].request_ids == ("a",)


def test_outcome_counts_devices() -> None:
    result, _ = run([make_request("a", MEDIUM, 10)], "fixed-sp4", 4, make_cost(4, 0.1, 0.2))
    (outcome,) = result.outcomes
    assert outcome.gpu_seconds == pytest.approx(0.1 + 10 * 0.03 * 4 + 0.2)
    assert outcome.latency_s == pytest.approx(0.1 + 10 * 0.03 + 0.2)
    assert replace(outcome.request, deadline_s=0.7).deadline_s >= outcome.finished_s
