"""Deadlines at scale 1.0: rules from a measured profile, by the name that a study gives."""

from collections.abc import Callable, Mapping
from typing import Literal

from tetriserve.core.size import Size
from tetriserve.cost.deadline import published_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile

PAPER_PROFILE = "flux1-dev.h100.eager"
PAPER_GPUS = 8
PAPER_STEPS = 28

Rule = Literal["the paper's", "like the paper's", "twice the fastest"]


def like_the_paper(size: Size, num_steps: int, cost: CostModel) -> float:
    """A deadline that stands to the fastest possible image here as the paper's stands to its fastest on 8 GPUs.

    The paper's fastest is taken from an eager profile of the same model and GPU, at 28 steps. Its degrees 4 and 8
    are extrapolated.
    """
    paper = CostModel(load_profile(PAPER_PROFILE), PAPER_GPUS)
    return published_slo_s(size) / paper.solo_s(size, PAPER_STEPS) * cost.solo_s(size, num_steps)


RULES: Mapping[Rule, Callable[[Size, int, CostModel], float]] = {
    "the paper's": lambda size, num_steps, cost: published_slo_s(size),
    "like the paper's": like_the_paper,
    "twice the fastest": lambda size, num_steps, cost: 2 * cost.solo_s(size, num_steps),
}
