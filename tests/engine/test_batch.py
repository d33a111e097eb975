import pytest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.batch import check_work
from tetriserve.engine.placement import Work

A = Request("a", "a cat", Size(64, 64), 4, 1.0, 0, 0.0, 0.0)
B = Request("b", "a dog", Size(64, 64), 4, 1.0, 0, 0.0, 0.0)
LARGE = Request("large", "a dog", Size(128, 64), 4, 1.0, 0, 0.0, 0.0)


def steps(*requests: Request, devices: tuple[int, ...] = (0,), first: float = 0, num: float = 1) -> Work:
    ids = tuple(request.request_id for request in requests)
    return Chunk(0, Stage.DENOISE, ids, devices, (first,) * len(ids), num), requests


def encode(request: Request, chunk_id: int = 0, devices: tuple[int, ...] = (0,)) -> Work:
    return Chunk(chunk_id, Stage.ENCODE, (request.request_id,), devices), (request,)


@pytest.mark.parametrize(
    ("work", "complaint"),
    [
        (steps(A, devices=(1, 2)), "no block"),
        (steps(A, devices=(2, 3)), "no block of 2 devices"),
        (steps(A, first=3, num=2), "2 steps from 3 of a request that has 4"),
        (steps(A, num=0), "0 steps"),
        (steps(A, first=0.3), "can't be cut so"),
        (steps(A, B, num=0.5), "can't be cut so"),
        (steps(A, LARGE), "more than one size"),
        ((steps(A)[0], (B,)), "its requests are not"),
        (encode(A, devices=(0, 1)), "one device"),
    ],
)
def test_what_would_go_wrong_on_a_device_is_refused(work: Work, complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        check_work(*work, num_devices=2)


def test_a_legal_batch_passes() -> None:
    check_work(*steps(A, B, devices=(0, 1), first=2, num=2), num_devices=2)
    check_work(*steps(A, devices=(0, 1), first=0.25, num=3.5), num_devices=2)
