"""Who may share memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.distributed import FileStore

from tetriserve.engine.groups import Groups


@pytest.mark.parametrize(("shared_before", "can"), [((0, 0), True), ((3, 3), True), ((1, 0), False)])
def test_memory_is_shared_by_ranks_that_have_shared_it_equally_often(
    tmp_path: Path, shared_before: tuple[int, int], can: bool
) -> None:
    def ask(rank: int) -> bool:
        groups = Groups(rank, torch.device("cpu"))
        groups.num_shared = shared_before[rank]
        return groups.agree_to_share(FileStore(str(tmp_path / "store"), 2), (0, 1))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, (0, 1))) == [can, can]
