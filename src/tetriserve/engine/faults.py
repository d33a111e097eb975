"""Turns an exception in a worker into what the parent is told."""

import torch

from tetriserve.core.errors import RequestFailedError
from tetriserve.engine.messages import Failure


def failure_of(request_id: str, error: Exception, doing: str) -> Failure:
    """The code and a clear message for one request."""
    if isinstance(error, RequestFailedError):
        return Failure(request_id, error.code, str(error))
    if is_out_of_memory(error):
        return Failure(request_id, "out_of_memory", f"out of memory while {doing}")
    return Failure(request_id, "engine_error", f"{type(error).__name__} while {doing}: {error}")


OUT_OF_MEMORY = ("can't allocate memory", "can't start new thread")
"""How a plain RuntimeError says so: of torch's allocator on CPUs, and of Python without room for a thread's stack."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device or the process has no memory left for this."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def shared_fault(error: Exception, num_requests: int) -> str:
    """Why requests that can't be told apart are to go on alone."""
    return f"{type(error).__name__} with {num_requests} requests together: {error}"


def is_device_lost(error: Exception) -> bool:
    """Whether this process can't use its device any more: after a CUDA error that isn't lack of memory; on CPUs, when
    oneDNN makes no kernels any more, which it doesn't after it once found no memory for one.
    """
    if "could not create a primitive" in str(error):
        return True
    accelerator_error: type[Exception] = getattr(torch, "AcceleratorError", RuntimeError)
    return isinstance(error, accelerator_error) and "CUDA error" in str(error) and not is_out_of_memory(error)
