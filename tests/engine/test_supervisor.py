"""How the parent looks after workers, with workers that do what a test says."""

import time
from collections.abc import Callable, Iterator

import pytest

from engine.fake_workers import ScriptedWorkers
from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import EngineError
from tetriserve.core.events import Event, WorkersBack, WorkersLost
from tetriserve.engine import supervisor
from tetriserve.engine.config import EngineConfig, ResolvedConfig
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.engine.messages import Died, Progress, Ready, Regroup, Report, Setup

Make = Callable[[type[ScriptedWorkers], int], tuple[ProcessExecutor, ScriptedWorkers, list[Event]]]


@pytest.fixture
def make(checkpoint: GetCheckpoint) -> Iterator[Make]:
    """An executor over scripted workers, not yet started."""
    made: list[ProcessExecutor] = []

    def executor(kind: type[ScriptedWorkers], num: int) -> tuple[ProcessExecutor, ScriptedWorkers, list[Event]]:
        workers, events = kind(num), list[Event]()
        config = EngineConfig(checkpoint("none"), f"cpu:{num}")
        made.append(ProcessExecutor(config, events.append, make_transport=lambda _: workers))
        return made[-1], workers, events

    yield executor
    for one in made:
        one.close()


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


class Stillborn(ScriptedWorkers):
    def first_report(self, rank: int, launch: int) -> Report:
        return Died("was killed by signal 9")


class StartsOnce(ScriptedWorkers):
    def first_report(self, rank: int, launch: int) -> Report:
        return Ready("cpu", "2.0") if launch == 1 else Died("was killed by signal 9")


class SecondStaysAway(ScriptedWorkers):
    """Rank 1 doesn't come to the second Regroup in its first life."""

    def on_regroup(self, rank: int, command: Regroup) -> Report | None:
        away = rank == 1 and command.epoch == 2 and self.num_launches[1] == 1
        return None if away else super().on_regroup(rank, command)


def test_a_first_start_that_fails_is_told_to_whoever_started(make: Make) -> None:
    executor, _, events = make(Stillborn, 1)
    with pytest.raises(EngineError, match="the workers can't be started: worker 0 was killed by signal 9"):
        executor.start()
    assert events == []


def test_a_dead_worker_is_replaced_and_the_others_join_it(make: Make) -> None:
    executor, workers, events = make(ScriptedWorkers, 2)
    executor.start()
    workers.say(1, Died("was killed by signal 9"))
    until(lambda: len(events) == 2)
    assert events == [WorkersLost((1,), "worker 1 was killed by signal 9"), WorkersBack((1,))]
    assert workers.num_launches == [1, 2]
    assert [rank for rank, command in workers.sent if isinstance(command, Regroup)] == [0, 1, 0, 0, 1]


def test_when_no_worker_starts_any_more_the_engine_has_failed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HOPE_S", 0.5)
    executor, workers, events = make(StartsOnce, 1)
    executor.start()
    workers.say(0, Died("was killed by signal 9"))
    until(lambda: executor.failed)
    assert [type(event) for event in events] == [WorkersLost] * 2
    assert workers.num_launches == [4]
    with pytest.raises(EngineError, match="can't be started"):
        executor.submit([])


def test_workers_that_are_killed_while_they_start_are_started_again(make: Make) -> None:
    class StartsTheFifthTime(ScriptedWorkers):
        def first_report(self, rank: int, launch: int) -> Report:
            return Ready("cpu", "2.0") if launch in {1, 5} else Died("was killed by signal 9")

    executor, workers, events = make(StartsTheFifthTime, 1)
    executor.start()
    workers.say(0, Died("was killed by signal 9"))
    until(lambda: len(events) == 2)
    assert [type(event) for event in events] == [WorkersLost, WorkersBack]
    assert workers.num_launches == [5]
    assert executor.failed is None


def test_one_that_does_not_start_is_tried_again_while_another_works(make: Make) -> None:
    class FirstNeverAgain(StartsOnce):
        def first_report(self, rank: int, launch: int) -> Report:
            return super().first_report(rank, launch if rank == 0 else 1)

    executor, workers, events = make(FirstNeverAgain, 2)
    executor.start()
    workers.say(0, Died("was killed by signal 9"))
    until(lambda: workers.num_launches[0] == 4)
    assert executor.failed is None
    assert [type(event) for event in events] == [WorkersLost]


@pytest.mark.parametrize("limit", ["START_LIMIT_S", "SILENCE_FLOOR_S"])
def test_who_says_nothing_when_started_again_is_replaced(
    make: Make, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(supervisor, limit, 0.3)

    class SilentOnce(ScriptedWorkers):
        def launch(self, setup: Setup) -> None:
            if self.num_launches[setup.rank] == 1:
                self.num_launches[setup.rank] += 1
            else:
                super().launch(setup)

    executor, workers, events = make(SilentOnce, 1)
    executor.start()
    workers.say(0, Died("was killed by signal 9"))
    until(lambda: len(events) == 2)
    assert [type(event) for event in events] == [WorkersLost, WorkersBack]
    assert workers.killed == [0, 0]
    assert workers.num_launches == [3]


def test_who_talks_while_groups_are_made_is_waited_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResolvedConfig, "join_limit_s", 0.5)
    executor, workers, _ = make(SecondStaysAway, 2)
    executor.start()
    workers.say(0, Died("was killed by signal 9"))
    until(lambda: workers.num_launches[0] == 2)
    for number in range(15):  # three times the limit
        time.sleep(0.1)
        workers.say(1, Progress(f"graph {number} of 15"))
    assert workers.killed == [0]
    until(lambda: workers.killed == [0, 1])


def test_who_does_not_come_when_groups_are_made_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResolvedConfig, "join_limit_s", 0.3)
    executor, workers, events = make(SecondStaysAway, 3)
    executor.start()
    workers.say(2, Died("was killed by signal 9"))
    until(lambda: sum(isinstance(event, WorkersBack) for event in events) >= 1 and len(events) >= 4)
    lost = [event for event in events if isinstance(event, WorkersLost)]
    assert [event.devices for event in lost] == [(2,), (1,)]
    assert "worker 1 hung while groups were made: 0.3 s" in lost[1].message
    assert workers.killed == [2, 1]
    back = sorted(device for event in events if isinstance(event, WorkersBack) for device in event.devices)
    assert back == [1, 2]
