"""Counts the bytes of tensors that are alive, operation by operation."""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """`peak`: the most that tensors made inside of this context took at once, as far as operations return them."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            StorageWeakRef(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor):
                reference = StorageWeakRef(made.untyped_storage())
                if reference not in given:
                    self._alive[reference] = made.untyped_storage().nbytes()
        self._alive = {reference: size for reference, size in self._alive.items() if not reference.expired()}
        self.peak = max(self.peak, sum(self._alive.values()))
        return result
