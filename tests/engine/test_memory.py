import re
from bisect import bisect_left
from functools import partial

import pytest
import torch

from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.engine import memory
from tetriserve.engine.config import EngineConfig, resolve
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.engine.memory import MemoryCheck, available_bytes, check_memory
from tetriserve.engine.messages import Setup
from tetriserve.models.config import LoadingConfig

CPU = torch.device("cpu")


def test_workers_on_the_host_share_what_is_free_there() -> None:
    one, four = available_bytes(CPU, 1), available_bytes(CPU, 4)
    assert 2**26 < one < 2**45
    assert one / 4 == pytest.approx(four, rel=0.3)


def test_interrupted_steps_need_room_only_where_there_can_be_some(
    checkpoint: GetCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fits(setup: Setup, free: int) -> bool:
        monkeypatch.setattr(memory, "available_bytes", lambda device, num: free)
        try:
            check_memory(setup, CPU)
        except ConfigurationError:
            return False
        return True

    def needed(may_interrupt: bool) -> int:
        sizes = (Size(1024, 1024),)
        config = EngineConfig(checkpoint("none"), "cpu:1", sizes=sizes, may_interrupt=may_interrupt)
        return bisect_left(range(2**30), True, key=partial(fits, resolve(config).setup(0)))

    assert needed(True) > needed(False) + 2**20


def test_the_plan_is_told_once_before_the_model_is_loaded(checkpoint: GetCheckpoint) -> None:
    told: list[str] = []
    config = EngineConfig(checkpoint("none"), "cpu:2", sizes=(Size(3072, 3072),))
    executor = ProcessExecutor(config, lambda event: None, told.append, told.append)
    with executor:
        pass
    plans = [text for text in told if text.startswith("tiny-none needs ")]
    assert len(plans) == 1
    assert re.fullmatch(r"tiny-none needs 1\.\d of \d+\.\d GiB here \(.*at work 1\.1.*\)", plans[0])
    assert told.index(plans[0]) < told.index("worker 0: loading transformer")


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    checkpoint: GetCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ((Size(64, 64), 1), (Size(64, 64), 2), (Size(1024, 1024), 1))
    loading = LoadingConfig(prompt_cache_mib=0)
    setup = Setup(str(checkpoint("none")), ("cpu",), 0, "float32", 1, sizes, loading)
    assert check_memory(setup, CPU) == MemoryCheck(None, tiled=False)
    for megabytes, tiled in ((200, False), (100, True)):
        monkeypatch.setattr(memory, "available_bytes", lambda device, num, free=megabytes * 2**20: free)
        assert check_memory(setup, CPU) == MemoryCheck(None, tiled)
    monkeypatch.setattr(memory, "available_bytes", lambda device, num: 20 * 2**20)
    with pytest.raises(ConfigurationError, match=re.escape("0.0 GiB are enough with --sizes 64x64")):
        check_memory(setup, CPU)
