import pytest

from scheduler.builders import make_cost, make_request, run
from tetriserve.core.commands import Submit
from tetriserve.core.events import WorkersBack, WorkersLost
from tetriserve.scheduler.pace import LEAST_CHUNKS, Pace
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.sim.executor import Faults


def test_a_device_is_slow_only_after_many_chunks_and_by_its_mean() -> None:
    pace = Pace(2)
    for _ in range(LEAST_CHUNKS - 1):
        pace.observe((0,), 4.0, 2.0)
    assert pace.slow == {}
    pace.observe((0,), 4.0, 2.0)
    assert pace.slow == {0: pytest.approx(2 - 0.9**10)}
    assert pace.factor((0, 1)) == pace.slow[0]
    assert pace.factor((1,)) == 1.0


def test_a_device_is_predicted_as_fast_as_it_was_unless_that_is_as_the_profile_says() -> None:
    pace = Pace(2)
    for _ in range(LEAST_CHUNKS):
        assert pace.factor((0, 1)) == 1.0
        pace.observe((0,), 1.8, 2.0)
        pace.observe((1,), 2.008, 2.0)
    assert pace.factor((0,)) == pytest.approx(1 - 0.1 * (1 - 0.9**10))
    assert pace.factor((0, 1)) == pace.factor((1,)) == 1.0


def test_chunks_count_by_their_work() -> None:
    """Steps that take half as long again say little of those that take a hundred times as long."""
    pace = Pace(1)
    for _ in range(LEAST_CHUNKS):
        pace.observe((0,), 0.03, 0.02)
        pace.observe((0,), 2.0, 2.0)
        pace.observe((0,), 0.03, 0.02)
    assert 1.0 < pace.factor((0,)) < 1.02
    assert pace.slow == {}


def test_on_a_machine_quicker_than_its_profile_the_next_chunk_is_there_before_the_last_one_ends() -> None:
    """Images take 0.72 s instead of 0.8; planned with those, every one would be waited for."""
    requests = [make_request(f"r{index:02d}") for index in range(60)]
    result, scheduler = run(requests, "fixed-sp1", 1, make_cost(1), None, Faults(slow={0: 0.9}))
    submitted_s = [now_s for _, now_s, commands in scheduler.log for command in commands if isinstance(command, Submit)]
    ends_s = [one.finished_s for one in result.chunks if one.chunk.num_steps]
    ahead_s = [end_s - later_s for end_s, later_s in zip(ends_s, submitted_s[1:], strict=False)]
    assert ahead_s[0] == pytest.approx(0.0)
    assert all(0.003 < one_s < 0.006 for one_s in ahead_s[-10:])


def test_a_device_that_recovers_or_is_replaced_is_not_slow_any_more() -> None:
    pace = Pace(2)
    for _ in range(20):
        pace.observe((0, 1), 4.0, 2.0)
    pace.forget((1,))
    assert set(pace.slow) == {0}
    for _ in range(20):
        pace.observe((0,), 2.0, 2.0)
    assert pace.slow == {}


def test_joint_work_does_not_make_a_fast_device_slow_that_also_works_alone() -> None:
    pace = Pace(2)
    for _ in range(100):
        pace.observe((0, 1), 4.0, 2.0)
        pace.observe((0,), 1.9, 2.0)
        pace.observe((0,), 1.9, 2.0)
        pace.observe((0,), 1.9, 2.0)
    assert set(pace.slow) == {1}


def test_promises_follow_slow_work_quickly_and_quick_work_slowly() -> None:
    pace = Pace(2)
    assert (pace.mean, pace.cautious) == (1.0, 1.0)
    for _ in range(6):
        pace.observe((0, 1), 0.4, 0.2)  # RISE_S of work
    assert pace.cautious == pytest.approx(2 - (5 / 6) ** 6)
    risen = pace.cautious
    for _ in range(6):
        pace.observe((0, 1), 0.2, 0.2)
    assert 1 + 0.9 * (risen - 1) < pace.cautious < risen
    pace.forget((0, 1))
    assert (pace.mean, pace.cautious) == (1.0, 1.0)


def test_the_more_times_vary_the_more_cautious_are_promises_and_no_promise_is_shorter_than_the_profile() -> None:
    steady, varying, quick = Pace(1), Pace(1), Pace(1)
    for _ in range(100):
        steady.observe((0,), 0.24, 0.2)
        for measured_s in (0.12, 0.36):
            varying.observe((0,), measured_s, 0.2)
        quick.observe((0,), 0.1, 0.2)
    assert steady.cautious == pytest.approx(1.2, abs=0.01)
    assert 1.4 < varying.cautious < 1.8
    assert (quick.mean, quick.cautious) == (1.0, 1.0)


def test_a_slow_device_is_found_and_its_chunks_may_take_longer() -> None:
    """Device 1 takes twice as long; 30 images of which each is one chunk of ten steps of 80 ms."""
    requests = [make_request(f"r{index:02d}", arrival_s=0.4 * index) for index in range(40)]
    result, scheduler = run(requests, "fixed-sp1", 2, make_cost(2), None, Faults(slow={1: 2.0}))
    assert all(outcome.error is None for outcome in result.outcomes)
    assert list(scheduler.slow_devices) == [1]
    limits: dict[int, list[float]] = {0: [], 1: []}
    for _, _, commands in scheduler.log:
        for command in commands:
            if isinstance(command, Submit):
                for chunk in command.chunks:
                    limits[chunk.devices[0]] += [chunk.limit_s] if chunk.num_steps else []
    assert set(limits[0]) == {10.0 + 10.0 * 0.8}
    assert limits[1][0] == limits[0][0]
    assert limits[1][-1] > 10.0 + 10.0 * 1.5 * 0.8


def test_the_scheduler_says_which_devices_are_lost() -> None:
    scheduler = Scheduler(lambda view, memory: (None, None), make_cost(2), 2)  # type: ignore[arg-type,return-value]
    scheduler.on(WorkersLost((1,), "died"), 0.0)
    assert scheduler.lost_devices == (1,)
    scheduler.on(WorkersBack((1,)), 1.0)
    assert scheduler.lost_devices == ()
