"""When a chunk is over: a GPU gets its next chunk while this one still runs, so somebody else has to wait for it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.engine.messages import Failure, Finished, Picture, Preview, Stepped
from tetriserve.models.adapter import RequestState


@dataclass(frozen=True, slots=True)
class Launched:
    """Steps that a device has been given. `wait` may be called on another thread than the one that launched them.

    `finite` and `previews` are on their way to the host; they are there when `seconds` returns.
    """

    chunk_id: int
    request_ids: tuple[str, ...]
    finite: Tensor
    steps: tuple[range, ...]
    seconds: Callable[[], float]
    previews: tuple[tuple[str, Tensor], ...] = ()
    latents: "Kept | None" = None

    def wait(self) -> Finished:
        """Until the device is through; a request whose latents are not finite has failed."""
        duration_s = self.seconds()
        finished_s = time.monotonic()
        failures = [
            _not_finite(request_id, steps)
            for request_id, steps, is_finite in zip(self.request_ids, self.steps, self.finite.tolist(), strict=True)
            if not is_finite
        ]
        return Finished(
            self.chunk_id,
            finished_s - duration_s,
            finished_s,
            tuple(failures),
            previews=tuple(Preview(request_id, picture_of(rgb)) for request_id, rgb in self.previews),
            latents=() if self.latents is None else self.latents.wait(),
        )


@dataclass(frozen=True, slots=True)
class LaunchedStep:
    """A step that a device has been given, of a chunk of which more follow. `wait` is as that of Launched."""

    chunk_id: int
    num_steps: float
    reached: Callable[[], None]

    def wait(self) -> Stepped:
        """Until the device is through with this step."""
        self.reached()
        return Stepped(self.chunk_id, self.num_steps)


class Kept:
    """Copies of latents on their way to the host: on a GPU on a stream of their own, beside the next chunk's work."""

    def __init__(self, states: Sequence[RequestState], stream: torch.cuda.Stream | None) -> None:
        self._copied: torch.cuda.Event | None = None
        if stream is None:
            self._hosts = [state.latents for state in states]
            return
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._hosts = [to_host(state.latents) for state in states]
            self._copied = _event()
            self._copied.record()
        for state in states:  # a new chunk replaces them; their memory must wait for the copy
            state.latents.record_stream(stream)

    def wait(self) -> tuple[bytes, ...]:
        """Each request's latents as they are sent."""
        if self._copied is not None:
            self._copied.synchronize()
        return tuple(host.contiguous().view(torch.uint8).numpy().tobytes() for host in self._hosts)


def restored(sent: bytes, like: Tensor) -> Tensor:
    """What `Kept` has sent, in the shape and on the device of `like`. Raises ValueError if it is of another size."""
    if len(sent) != like.numel() * like.element_size():
        raise ValueError(f"{len(sent)} bytes of latents where {like.numel() * like.element_size()} were expected")
    return torch.frombuffer(bytearray(sent), dtype=like.dtype).view(like.shape).to(like.device)


class Stopwatch:
    """Measures what is launched between its making and `stop`, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self._event = _event() if device.type == "cuda" else None
        self._begin_s = time.monotonic()
        if self._event is not None:
            self._event.record()

    def stop(self) -> Callable[[], float]:
        """What waits until all that was launched is done, and tells the seconds it took on the device."""
        begin = self._event
        if begin is None:
            seconds = time.monotonic() - self._begin_s
            return lambda: seconds
        end = _event()
        end.record()

        def wait() -> float:
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1e3

        return wait


def milestone(device: torch.device) -> Callable[[], None]:
    """What waits until all that was launched so far is done; it sleeps meanwhile, unlike a Stopwatch."""
    if device.type != "cuda":
        return lambda: None
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record()

    def wait() -> None:
        event.synchronize()

    return wait


def finite_flags(states: Sequence[RequestState]) -> Tensor:
    """(B,) on the host: whether each request's latents are finite, once the device is through."""
    return to_host(torch.stack([state.latents.isfinite().all() for state in states]))


def to_host(tensor: Tensor) -> Tensor:
    """The same on the host, once the device is through; returns at once."""
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def picture_of(rgb: Tensor) -> Picture:
    """(height, width, 3) uint8 on the host, as it is sent."""
    height, width, _ = rgb.shape
    return Picture(width, height, rgb.contiguous().numpy().tobytes())


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _not_finite(request_id: str, steps: range) -> Failure:
    message = f"the latents hold NaN or infinity after steps {steps.start} to {steps.stop - 1}"
    return Failure(request_id, "non_finite_latents", message)
