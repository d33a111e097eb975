"""What somebody asked for."""

from dataclasses import dataclass

from tetriserve.core.size import Size


@dataclass(frozen=True, slots=True)
class Request:
    """One image to make. Times are absolute seconds on the clock of whoever drives the scheduler.

    `seed` means what diffusers means by it: `torch.Generator("cpu").manual_seed(seed)`. `weight` says how much it is
    worth where somebody must be left out. `num_partial_images`: pictures to show on the way. `delivery_s`: what the
    way from the decoded image to whoever judges the deadline is expected to take. `is_watched`: somebody wants to hear
    of each of its steps.
    """

    request_id: str
    prompt: str
    size: Size
    num_inference_steps: int
    guidance_scale: float
    seed: int
    arrival_s: float
    deadline_s: float
    negative_prompt: str = ""
    weight: float = 1.0
    num_partial_images: int = 0
    delivery_s: float = 0.0
    is_watched: bool = False

    @property
    def due_s(self) -> float:
        """When its decoded image must be there, to be delivered by the deadline."""
        return self.deadline_s - self.delivery_s

    @property
    def slo_s(self) -> float:
        """The time allowed from arrival to image."""
        return self.deadline_s - self.arrival_s
