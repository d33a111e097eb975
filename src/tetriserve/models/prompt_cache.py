"""Prompts that were encoded of late are not encoded again.

The images of one request share theirs, most requests with guidance the negative one, and who tries seeds or sizes keeps
to a prompt. ComfyUI caches what text encoders return, too.
"""

from collections import OrderedDict

from torch import Tensor

Encoded = tuple[Tensor, ...]
"""What text encoders made of one prompt: tensors (1, ...)."""


class PromptCache:
    """Encoded prompts on the device, at most `num_bytes`; those that were not asked for the longest go first."""

    def __init__(self, num_bytes: int) -> None:
        self._room = num_bytes
        self._kept: OrderedDict[str, Encoded] = OrderedDict()

    def find(self, prompt: str) -> Encoded | None:
        """What was kept of it, if it is still there. Nobody may write into it."""
        encoded = self._kept.get(prompt)
        if encoded is not None:
            self._kept.move_to_end(prompt)
        return encoded

    def keep(self, prompt: str, encoded: Encoded) -> None:
        """Remember one that was not there; nothing, if it alone is too large."""
        self._kept[prompt] = encoded
        self._room -= _num_bytes(encoded)
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += _num_bytes(dropped)


def _num_bytes(encoded: Encoded) -> int:
    return sum(tensor.nbytes for tensor in encoded)
