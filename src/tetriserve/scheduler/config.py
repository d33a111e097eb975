"""What an operator can set about scheduling."""

from dataclasses import dataclass

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import group, setting
from tetriserve.core.size import Size


@dataclass(frozen=True, slots=True)
class TetriServeConfig:
    """Settings of the `tetriserve` policy. The switches exist for the ablation; all on is the policy.

    `step_granularity` is the length of a round in denoising steps of the largest size at its fastest degree.
    `largest_size` names that size (default: the largest one profiled); `round_s` overrides the product.
    `placement`: keep a request's devices from round to round. `elastic`: idle devices go to those who gain most.
    `backfill`: devices idle inside a round take steps that end with the round.
    `batching`: requests of one size share chunks where that saves GPU time while somebody waits.
    `slip` is the share of a round by which a device may be late and still take part in it.
    """

    step_granularity: int = setting(5, "length of a round in steps of the largest size at its fastest", metavar="N")
    round_s: float | None = setting(None, "length of a round in seconds, instead of in steps", metavar="S")
    largest_size: Size | None = None
    placement: bool = setting(True, "keep a request's devices from round to round")
    elastic: bool = setting(True, "give idle devices to those who gain most")
    backfill: bool = setting(True, "let devices that are idle inside a round take steps that end with it")
    batching: bool = setting(True, "let requests of one size share chunks where that saves GPU time")
    slip: float = setting(0.05, "share of a round by which a device may be late and still take part", metavar="X")

    def __post_init__(self) -> None:
        if self.step_granularity < 1:
            raise ConfigurationError(f"step_granularity is {self.step_granularity}, must be at least 1")
        if self.round_s is not None and not 0 < self.round_s < float("inf"):
            raise ConfigurationError(f"round_s is {self.round_s}, must be a positive number of seconds")
        if not 0 <= self.slip < 1:
            raise ConfigurationError(f"slip is {self.slip}, must be at least 0 and less than 1")


@dataclass(frozen=True, slots=True)
class DefaultConfig:
    """Settings of the `default` policy.

    `chunk_s`: a chunk takes as many steps as fit into it, at least one; `calm_chunk_s`: the same while nobody waits.
    `window_s`: devices and requests that are free within it are planned with as if they were free now. `num_ahead`:
    so many requests are looked at together. `idle_step_s`: who only gets idle devices takes no longer steps, if it
    has shorter ones; `late_efficiency`: nor, if it is late, does it take a degree at which devices do less than this
    share of the steps they would do one by one. `slip_s`: by so much may steps of who only gets idle devices be late
    for those who wait for them. `batching`: requests of one size share chunks where that saves GPU time while
    somebody waits. `part_s`: a step that takes one device longer than that times the devices of a cell is cut between
    blocks of the transformer into halves, quarters or eighths, after each of which others may go first (0: none is);
    where it is not, steps of late requests are cut that take longer than that on their block.
    """

    chunk_s: float = setting(0.12, "a chunk takes as many steps as fit into it, at least one", metavar="S")
    calm_chunk_s: float = setting(0.2, "the same while nobody waits", metavar="S")
    window_s: float = setting(0.3, "what is free within it is planned with as if it were free now", metavar="S")
    num_ahead: int = setting(8, "so many requests are looked at together", metavar="N")
    idle_step_s: float = setting(
        0.35, "longest step of who only gets idle devices, if it has shorter ones", metavar="S"
    )
    late_efficiency: float = setting(
        0.65, "share of the steps one by one that devices of a late request do", metavar="X"
    )
    slip_s: float = setting(0.01, "by so much may such steps be late for who waits for the devices", metavar="S")
    batching: bool = setting(True, "let requests of one size share chunks where that saves GPU time")
    part_s: float = setting(
        0.12, "long steps are cut into parts, so that some device is free so often (0: none are)", metavar="S"
    )

    def __post_init__(self) -> None:
        for name in ("chunk_s", "calm_chunk_s", "window_s", "idle_step_s", "slip_s", "part_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} is {getattr(self, name)}, must be at least 0 seconds, and finite")
        if not 0 <= self.late_efficiency <= 1:
            raise ConfigurationError(f"late_efficiency is {self.late_efficiency}, must be from 0 to 1")
        if self.num_ahead < 1:
            raise ConfigurationError(f"num_ahead is {self.num_ahead}, must be at least 1")


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Settings of the scheduler.

    `ahead_s`: how long before devices become free the next chunks are committed, so that they never wait for
    the scheduler. `max_losses`: a request that ran in so many losses of workers, with no chunk done in between, is
    failed; losses that it had no part in meanwhile are taken off. A worker hangs that takes longer for a chunk than
    `hang_factor` times its prediction and `hang_floor_s`.
    """

    ahead_s: float = setting(0.005, "how long before devices become free the next chunks are committed", metavar="S")
    max_losses: int = setting(3, "a request that ran in so many losses of workers in a row is failed", metavar="N")
    hang_factor: float = setting(
        10.0, "a worker hangs that takes longer for a chunk than so many times its prediction", metavar="X"
    )
    hang_floor_s: float = setting(10.0, "and so many seconds in addition; it is replaced", metavar="S")
    tetriserve: TetriServeConfig = group(TetriServeConfig, "policy tetriserve", table=True)
    default: DefaultConfig = group(DefaultConfig, "policy default", table=True)

    def __post_init__(self) -> None:
        if not 0 <= self.ahead_s < float("inf"):
            raise ConfigurationError(f"ahead_s is {self.ahead_s}, must be at least 0 seconds")
        if self.max_losses < 1:
            raise ConfigurationError(f"max_losses is {self.max_losses}, must be at least 1")
        if not self.hang_factor >= 1:
            raise ConfigurationError(f"hang_factor is {self.hang_factor}, must be at least 1 (inf: nobody hangs)")
        if not self.hang_floor_s >= 0:
            raise ConfigurationError(f"hang_floor_s is {self.hang_floor_s}, must be at least 0 seconds")
