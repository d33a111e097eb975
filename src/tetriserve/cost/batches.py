"""Which batches are worth making ready and measuring: small images leave a GPU unfilled, large ones don't."""

from tetriserve.core.size import Size

BATCHES = (1, 2, 4)
MAX_TOKENS = 1024
"""Image tokens from which a request fills a GPU alone: 512x512."""


def batches_for(size: Size) -> tuple[int, ...]:
    """Batch sizes to prepare for a size on a GPU. Source: TetriServe §5, "small resolution"; differs: its limit."""
    return BATCHES if size.num_tokens <= MAX_TOKENS else (1,)
