import pytest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkFailed
from tetriserve.engine.ledger import Ledger
from tetriserve.engine.messages import Failure, Finished

FAILURE = Failure("a", "non_finite_latents", "NaN after steps 0 to 1")


def chunk(chunk_id: int, *ids: str, devices: tuple[int, ...] = (0, 1)) -> Chunk:
    return Chunk(chunk_id, Stage.DENOISE, ids, devices, (0,) * len(ids), 1)


def test_a_chunk_lasts_from_the_first_start_to_the_last_end() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a"))
    assert ledger.report(1, Finished(0, 2.0, 4.0)) == []
    assert ledger.report(0, Finished(0, 1.0, 3.0)) == [ChunkDone(0, 1.0, 4.0)]


def test_what_one_rank_reports_fails_the_request_but_not_its_neighbour() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a", "b"))
    ledger.report(1, Finished(0, 1.0, 2.0, (FAILURE,)))
    assert ledger.report(0, Finished(0, 1.0, 2.0)) == [ChunkFailed(0, 1.0, 2.0, ("a",), FAILURE.code, FAILURE.message)]


def test_later_chunks_of_a_failed_request_fail_with_it_even_after_its_release() -> None:
    ledger = Ledger()
    for chunk_id in (0, 1, 2):
        ledger.open(chunk(chunk_id, "a", devices=(0,)))
    ledger.report(0, Finished(0, 1.0, 2.0, (FAILURE,)))
    ledger.release("a")
    for chunk_id in (1, 2):
        (event,) = ledger.report(0, Finished(chunk_id, 2.0, 3.0))
        assert isinstance(event, ChunkFailed)
    ledger.open(chunk(3, "a", devices=(0,)))
    assert ledger.report(0, Finished(3, 3.0, 4.0)) == [ChunkDone(3, 3.0, 4.0)]


@pytest.mark.parametrize("later", [chunk(1, "a", devices=(2,)), chunk(1, "b", devices=(1,))], ids=["request", "device"])
def test_no_event_overtakes_one_of_the_same_request_or_device(later: Chunk) -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a"))
    ledger.open(later)
    ledger.report(1, Finished(0, 1.0, 2.0))
    assert ledger.report(later.devices[0], Finished(1, 2.0, 3.0)) == []
    assert [event.chunk_id for event in ledger.report(0, Finished(0, 1.0, 2.1))] == [0, 1]


def test_events_of_strangers_do_not_wait() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a"))
    ledger.open(chunk(1, "b", devices=(2,)))
    assert ledger.report(2, Finished(1, 2.0, 3.0)) == [ChunkDone(1, 2.0, 3.0)]
