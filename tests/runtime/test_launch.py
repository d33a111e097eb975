"""What is started for a configuration."""

from types import SimpleNamespace

import pytest

from tetriserve.engine.config import EngineConfig
from tetriserve.runtime import launch
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import workers
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig

WHOLE_STEPS = SchedulerConfig(default=DefaultConfig(part_s=0.0))


@pytest.mark.parametrize(
    ("config", "may_interrupt"),
    [
        (ServingConfig(), True),
        (ServingConfig(policy="package.module:mine", scheduler=WHOLE_STEPS), True),
        (ServingConfig(scheduler=WHOLE_STEPS), False),
        (ServingConfig(policy="tetriserve"), False),
    ],
)
async def test_workers_keep_room_for_interrupted_steps_if_the_policy_has_any(
    config: ServingConfig, may_interrupt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_processes(engine: EngineConfig, *_: object) -> SimpleNamespace:
        return SimpleNamespace(config=engine, start=lambda: None, close=lambda: None)

    monkeypatch.setattr(launch, "ProcessExecutor", no_processes)
    async with workers(config, lambda *_: None) as (executor, _):
        assert executor.config.may_interrupt is may_interrupt
