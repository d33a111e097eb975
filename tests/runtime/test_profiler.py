import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import ConfigurationError, EngineError
from tetriserve.core.events import News
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile, StageTime, StepTime
from tetriserve.cost.store import ProfileStore
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.engine.supervisor import MachineInfo
from tetriserve.models.card import ModelCard
from tetriserve.runtime import launch
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import measure_and_store, obtain_profile
from tetriserve.runtime.mailbox import Mailbox
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.profiler import Machine, Profiler
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults, SimulatedExecutor

SMALL, LARGE = Size(64, 64), Size(128, 128)
TRUTH = Profile(
    "m",
    "g",
    2,
    "float32",
    32,
    "made up",
    "2",
    "2026-01-01",
    tuple(
        StepTime(*size, degree, batch, (0.5 + 0.5 * batch) * step_s)
        for size, times in ((SMALL, (0.002, 0.003)), (LARGE, (0.008, 0.005)))
        for degree, step_s in enumerate(times, start=1)
        for batch in (1, 2, 4)
    ),
    (StageTime(Stage.ENCODE, *SMALL, 1, 0.001), StageTime(Stage.DECODE, *SMALL, 1, 0.004)),
    0.001,
)
MACHINE = Machine("m", "g", "float32", 32, "2", 3.5, is_cpu=False)


class InstantExecutor(SimulatedExecutor):
    """Ends what it is given in no time, by a clock of its own that says how long it took."""

    def __init__(self, deliver: Callable[[News], None], faults: Faults | None) -> None:
        self._virtual = VirtualClock()
        self.machine = MachineInfo(("cuda", "cuda"), "g", "float32", "2")
        self.busy_devices: list[int] = []
        super().__init__(CostModel(TRUTH, 2), 2, self._virtual, deliver, faults)

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        if all(chunk.stage is Stage.DENOISE for chunk, _ in chunks):
            self.busy_devices.append(len({device for chunk, _ in chunks for device in chunk.devices}))
        super().submit(chunks)
        self._virtual.run()


def slowed(entries: tuple[StepTime, ...], times: float) -> tuple[StepTime, ...]:
    return tuple(replace(entry, step_s=times * entry.step_s) for entry in entries)


def make_profiler(faults: Faults | None = None) -> Profiler:
    mailbox = Mailbox(asyncio.get_running_loop())
    return Profiler(InstantExecutor(mailbox.post, faults), mailbox, MACHINE)


async def test_what_is_measured_is_what_the_devices_take() -> None:
    seen: list[tuple[int, int, str]] = []
    profiler = make_profiler()
    profiler.progress = lambda *state: seen.append(state)
    measured = await profiler.measure([SMALL, LARGE])
    for found, true in zip(measured.entries, TRUTH.entries, strict=True):
        assert (found.size, found.degree) == (true.size, true.degree)
        assert found.step_s == pytest.approx(true.step_s)
    assert [stage.stage for stage in measured.stages] == [Stage.ENCODE, Stage.DECODE] * 2
    assert [stage.seconds for stage in measured.stages[:2]] == pytest.approx([0.001, 0.004])
    assert seen[-1][0] == seen[-1][1]
    assert Profile.from_json(measured.to_json()) == measured


@pytest.mark.parametrize(("times", "is_pessimistic"), [(0.2, False), (1.9, False), (2.1, True)])
async def test_a_profile_that_was_measured_on_a_busy_machine_is_noticed(times: float, is_pessimistic: bool) -> None:
    profiler = make_profiler()
    believed = replace(TRUTH, entries=slowed(TRUTH.entries, times))
    assert await profiler.is_pessimistic(believed, SMALL) is is_pessimistic
    assert isinstance(profiler.executor, InstantExecutor)
    assert set(profiler.executor.busy_devices) == {2}, "as when it was measured"


async def test_a_service_measures_stores_and_doubts_its_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mailbox, said = Mailbox(asyncio.get_running_loop()), list[str]()
    executor = cast(ProcessExecutor, InstantExecutor(mailbox.post, None))
    card = ModelCard("m", "FluxPipeline", 32, "embedded", 3.5, 20, (SMALL, LARGE))

    async def obtain(*sizes: Size) -> Profile:
        said.clear()
        menu, config = Menu(card, sizes or (SMALL, LARGE)), ServingConfig(model_dir=tmp_path)
        return await obtain_profile(config, menu, executor, mailbox, lambda done, total, text: said.append(text))

    measured = await obtain()
    assert said[-1] == "profile measured"
    assert await obtain() == measured
    assert said == []
    (path,) = tmp_path.rglob("profiles/*.json")
    path.write_text(replace(measured, entries=slowed(measured.entries, 5)).to_json())
    again = await obtain()
    assert "measuring anew" in said[0]
    assert [entry.step_s for entry in again.entries] == pytest.approx([entry.step_s for entry in measured.entries])
    assert Profile.load(path) == again
    both = {SMALL, LARGE}
    path.write_text(replace(again, entries=again.entries[1:]).to_json())
    assert {entry.size for entry in (await obtain(SMALL)).entries} == {SMALL}
    assert {entry.size for entry in Profile.load(path).entries} == both, "what is measured now is added"


async def test_profiling_some_sizes_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []

    @asynccontextmanager
    async def instant_workers(*_: object) -> AsyncIterator[tuple[InstantExecutor, Mailbox]]:
        mailbox = Mailbox(asyncio.get_running_loop())
        yield InstantExecutor(mailbox.post, None), mailbox

    async def profile(*sizes: Size) -> tuple[Profile, Path]:
        config = ServingConfig(sizes=sizes)
        return await measure_and_store(config, lambda done, total, text: total or said.append(text), 3)

    monkeypatch.setattr(launch, "workers", instant_workers)
    await profile(SMALL, LARGE)
    measured, path = await profile(LARGE)
    assert {entry.size for entry in measured.entries} == {LARGE}, "what --out gets"
    stored = Profile.load(path)
    assert [entry.step_s for entry in stored.entries] == pytest.approx([entry.step_s for entry in TRUTH.entries])
    assert [stage.size for stage in stored.stages] == [SMALL, SMALL, LARGE, LARGE]
    assert said == []
    path.write_text(replace(stored, torch="1").to_json())
    await profile(LARGE)
    assert said == ["The stored profile is replaced: torch was '1' and is '2'"]
    assert {entry.size for entry in Profile.load(path).entries} == {LARGE}


def test_sizes_of_two_profiles_stand_beside_each_other() -> None:
    middle = Size(64, 96)
    stored = replace(TRUTH, entries=(*TRUTH.entries, StepTime(*LARGE, 1, 8, 1.0)))
    newer = replace(
        TRUTH,
        how="otherwise",
        measured_on="2026-02-02",
        entries=(StepTime(*LARGE, 1, 1, 0.5), StepTime(*middle, 1, 1, 0.25)),
        stages=(StageTime(Stage.DECODE, *middle, 1, 0.006),),
        switch_s=0.005,
    )
    both = stored.merged(newer)
    assert both.entries == (
        *(entry for entry in TRUTH.entries if entry.size == SMALL),
        StepTime(*middle, 1, 1, 0.25),
        StepTime(*LARGE, 1, 1, 0.5),
    )
    assert both.stages == (*TRUTH.stages, *newer.stages)
    assert (both.how, both.measured_on) == ("made up; otherwise", "2026-02-02")
    assert both.merged(newer) == both
    assert both.switch_s == TRUTH.switch_s, "measured at the smallest size"
    assert newer.merged(stored).switch_s == TRUTH.switch_s
    assert replace(stored, switch_s=None).merged(newer).switch_s == 0.005


@pytest.mark.parametrize(
    "change", [{"gpu": "other"}, {"dtype": "float16"}, {"torch": "3"}, {"num_gpus_measured": 1}, {"text_tokens": 8}]
)
def test_profiles_of_other_things_are_not_mixed(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ConfigurationError, match=f"{name} was"):
        replace(TRUTH, **change).merged(TRUTH)


def test_a_stored_profile_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    store, path, said = ProfileStore(tmp_path), tmp_path / "profile.json", list[str]()
    path.write_text("{}")
    store.add(path, TRUTH, said.append)
    assert Profile.load(path) == TRUTH
    assert "not a usable profile" in said[0]
    assert len(said) == 1


async def test_a_chunk_that_fails_ends_the_profile_with_its_reason() -> None:
    profiler = make_profiler(Faults(failing_ids=_Everybody()))
    with pytest.raises(EngineError, match="profiling failed"):
        await profiler.measure([SMALL])


class _Everybody(set[str]):
    def __contains__(self, _: object) -> bool:
        return True


def test_a_stored_profile_is_found_only_if_it_covers_what_is_asked(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path)
    path = store.path(tmp_path, "m", "GPU (big)", "float32")
    assert store.find(path, (SMALL,), 2) is None
    store.save(path, TRUTH)
    assert store.find(path, (SMALL, LARGE), 2) == TRUTH
    assert store.find(path, (SMALL, Size(512, 512)), 2) is None
    assert store.find(path, (SMALL,), 4) is None
    store.save(path, replace(TRUTH, entries=TRUTH.entries[1:]))
    assert store.find(path, (SMALL,), 2) is None, "without a batch of one at degree 1"
    path.write_text("{}")
    assert store.find(path, (SMALL,), 1) is None


def test_another_network_has_another_file(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path)
    before = store.path(tmp_path, "m", "g", "float32")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text('{"num_layers": 3}')
    assert store.path(tmp_path, "m", "g", "float32") != before
