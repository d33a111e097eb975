"""Devices are lost and come back; requests go on."""

import pytest

from scheduler.builders import LARGE, SMALL, make_cost, make_request, make_scheduler
from scheduler.driver import Driver, fifo, steps_policy
from tetriserve.core.chunk import Stage
from tetriserve.core.events import (
    ChunkLost,
    Tick,
    WorkersBack,
)
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import POLICIES
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.tracker import LIMIT_FACTOR


def test_a_request_goes_on_after_its_last_finished_chunk_on_the_devices_that_are_there() -> None:
    driver = Driver(Scheduler(steps_policy(4, "a"), make_cost(2), 2, SchedulerConfig(ahead_s=0.0)))
    driver.arrive("a")
    encode, first = driver.chunks
    driver.done(encode)
    driver.done(first)
    driver.send(Tick())
    (second,) = driver.chunks[2:]
    driver.lose((1,), second)
    driver.send(Tick())
    (again,) = driver.chunks[3:]
    assert (again.stage, again.first_steps, again.devices) == (Stage.DENOISE, (4,), (0,))
    assert again.chunk_id != second.chunk_id


def test_nothing_is_planned_on_a_lost_device_until_it_is_back() -> None:
    driver = fifo(2)
    driver.lose((0,))
    driver.arrive("a", "b")
    assert {chunk.devices for chunk in driver.chunks} == {(1,)}
    driver.send(WorkersBack((0,)))
    driver.send(Tick())
    assert {chunk.devices for chunk in driver.chunks} == {(0,), (1,)}
    assert {chunk.request_ids for chunk in driver.chunks if chunk.devices == (0,)} == {("b",)}


def test_while_a_block_of_its_degree_is_broken_a_fixed_degree_is_lower() -> None:
    driver = Driver(make_scheduler("fixed-sp2", make_cost(2), 2, SchedulerConfig()))
    driver.lose((0,))
    driver.arrive("a")
    assert {chunk.devices for chunk in driver.chunks} == {(1,)}


@pytest.mark.parametrize("policy", [name for name in POLICIES if not name.startswith("fixed-sp")])
@pytest.mark.parametrize("slo_s", [0.2, 60.0], ids=["late", "on-time"])
def test_every_policy_works_with_what_is_left_however_long_steps_are_there(policy: str, slo_s: float) -> None:
    driver = Driver(make_scheduler(policy, make_cost(4), 4, SchedulerConfig()))
    driver.lose((0, 1, 3))
    driver.arrive("a", size=LARGE, slo_s=slo_s)
    assert {chunk.devices for chunk in driver.chunks} == {(2,)}


def test_without_devices_everybody_waits_for_one() -> None:
    driver = fifo(1)
    driver.lose((0,))
    driver.arrive("a")
    assert driver.chunks == []
    assert not driver.scheduler.foresee([make_request("b")], driver.now_s).can_be_met
    driver.send(WorkersBack((0,)))
    driver.send(Tick())
    assert len(driver.chunks) == 3


def test_an_encoding_that_is_lost_is_done_again_and_one_that_was_done_is_not() -> None:
    driver = fifo(2)
    driver.arrive("a", "b")
    of_a = [chunk for chunk in driver.chunks if chunk.request_ids == ("a",)]
    of_b = [chunk for chunk in driver.chunks if chunk.request_ids == ("b",)]
    driver.done(of_a[0])
    driver.lose((), *of_a[1:], *of_b)
    driver.send(Tick())
    again = driver.chunks[6:]
    assert [chunk.stage for chunk in again if chunk.request_ids == ("a",)] == [Stage.DENOISE, Stage.DECODE]
    assert [chunk.stage for chunk in again if chunk.request_ids == ("b",)] == list(Stage)
    for chunk in again:
        driver.done(chunk)
    assert [(outcome.error, len(outcome.degrees)) for outcome in driver.completed] == [(None, 10)] * 2


def test_a_request_that_was_running_in_three_losses_in_a_row_is_failed_and_one_that_waited_is_not() -> None:
    driver = fifo(1)
    driver.arrive("killer", "waits")
    for _ in range(3):
        driver.lose((0,), *driver.chunks[-3:])
        driver.send(WorkersBack((0,)))
        driver.send(Tick())
    (failed,) = driver.completed
    assert failed.request.request_id == "killer"
    assert failed.error_code == "worker_lost"
    assert "exit code 9" in failed.error
    assert driver.chunks[-1].request_ids == ("waits",)


def test_losses_of_other_devices_meanwhile_speak_for_a_request_but_not_for_ever() -> None:
    driver = fifo(2)
    driver.arrive("a")
    for _ in range(LIMIT_FACTOR * 3):
        assert driver.completed == []
        (device,) = driver.chunks[-1].devices
        driver.lose((device,), *driver.chunks[-3:])
        driver.lose((1 - device,))
        driver.send(WorkersBack((0, 1)))
        driver.send(Tick())
    (failed,) = driver.completed
    assert failed.error_code == "worker_lost"


def test_who_is_lost_on_one_device_after_the_other_is_not_acquitted_by_that() -> None:
    driver = fifo(2)
    driver.arrive("a")
    for _ in range(3):
        assert driver.completed == []
        (device,) = driver.chunks[-1].devices
        driver.lose((device,), *driver.chunks[-3:])
        driver.send(Tick())
        driver.send(WorkersBack((device,)))
    (failed,) = driver.completed
    assert failed.error_code == "worker_lost"


def test_a_part_of_a_step_that_is_done_again_after_every_loss_is_not_getting_on() -> None:
    """The first half of the step is well, the second kills the device: three times, and not for ever."""
    driver = Driver(Scheduler(steps_policy(0.5, "a"), make_cost(1), 1, SchedulerConfig(ahead_s=0.0)))
    driver.arrive("a")
    driver.done(driver.chunks[0])
    for _ in range(3):
        assert driver.completed == []
        driver.done(driver.chunks[-1])
        driver.send(Tick())
        driver.lose((0,), driver.chunks[-1])
        driver.send(WorkersBack((0,)))
        driver.send(Tick())
    (failed,) = driver.completed
    assert failed.error_code == "worker_lost"


def test_whoever_gets_on_between_losses_is_not_failed() -> None:
    driver = Driver(Scheduler(steps_policy(2, "a"), make_cost(1), 1, SchedulerConfig(ahead_s=0.0)))
    driver.arrive("a")
    driver.done(driver.chunks[0])
    for _ in range(4):
        driver.lose((0,), driver.chunks[-1])
        driver.send(WorkersBack((0,)))
        driver.send(Tick())
        driver.done(driver.chunks[-1])
        driver.send(Tick())
    assert driver.completed == []
    assert [chunk.stage for chunk in driver.chunks[-2:]] == [Stage.DENOISE, Stage.DECODE]


def test_who_came_to_grief_together_goes_on_alone() -> None:
    driver = Driver(make_scheduler("default", make_cost(1), 1, SchedulerConfig()))
    driver.arrive("a", "b", size=SMALL, num_steps=10, slo_s=0.32)
    (batch,) = [chunk for chunk in driver.chunks if chunk.stage is Stage.DENOISE]
    assert len(batch.request_ids) == 2
    for chunk in driver.chunks[:2]:
        driver.done(chunk, 0.0)
    driver.send(ChunkLost(batch.chunk_id, "no memory", suspect=False, apart=True))
    driver.send(Tick())
    (again,) = [chunk for chunk in driver.chunks[3:] if chunk.stage is Stage.DENOISE]
    assert len(again.request_ids) == 1


def test_a_lost_decoding_is_done_on_another_device_without_a_step() -> None:
    driver = fifo(2)
    driver.arrive("a")
    encode, steps, decode = driver.chunks
    driver.done(encode)
    driver.done(steps)
    driver.lose((0, 1), decode)
    driver.send(Tick())
    assert len(driver.chunks) == 3
    driver.send(WorkersBack((1,)))
    driver.send(Tick())
    (again,) = driver.chunks[3:]
    assert (again.stage, again.devices) == (Stage.DECODE, (1,))
    driver.done(again)
    assert driver.completed[0].error is None


def test_a_request_already_failing_is_completed_by_the_loss_of_its_last_chunk() -> None:
    driver = fifo(1)
    driver.arrive("a")
    driver.fail(driver.chunks[0], "a")
    driver.lose((0,), *driver.chunks[1:])
    assert driver.completed[0].error_code == "out_of_memory"
