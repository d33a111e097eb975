"""When a request that is being made shows an intermediate picture."""

from tetriserve.core.request import Request

MAX_PARTIAL_IMAGES = 3


def is_partial_due(request: Request, first_step: int, num_steps: int) -> bool:
    """Whether a partial image is due at the end of a chunk: it passes one of the evenly spaced marks.

    A chunk that passes two gives one picture, and the last chunk none: the image itself is about to come.
    """
    end = first_step + num_steps
    parts = request.num_partial_images + 1
    marks = (request.num_inference_steps * part / parts for part in range(1, parts))
    return end < request.num_inference_steps and any(first_step < mark <= end for mark in marks)
