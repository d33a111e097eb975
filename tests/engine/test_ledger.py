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
    assert ledger.report(1, Finished(0, 2.0, 4.0)) is None
    assert ledger.report(0, Finished(0, 1.0, 3.0)) == ChunkDone(0, 1.0, 4.0)


def test_what_one_rank_reports_fails_the_request_but_not_its_neighbour() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a", "b"))
    ledger.report(1, Finished(0, 1.0, 2.0, (FAILURE,)))
    assert ledger.report(0, Finished(0, 1.0, 2.0)) == ChunkFailed(0, 1.0, 2.0, ("a",), FAILURE.code, FAILURE.message)


def test_later_chunks_of_a_failed_request_fail_with_it_even_after_its_release() -> None:
    ledger = Ledger()
    for chunk_id in (0, 1, 2):
        ledger.open(chunk(chunk_id, "a", devices=(0,)))
    ledger.report(0, Finished(0, 1.0, 2.0, (FAILURE,)))
    ledger.release("a")
    assert isinstance(ledger.report(0, Finished(1, 2.0, 3.0)), ChunkFailed)
    assert isinstance(ledger.report(0, Finished(2, 2.0, 3.0)), ChunkFailed)
    ledger.open(chunk(3, "a", devices=(0,)))
    assert isinstance(ledger.report(0, Finished(3, 3.0, 4.0)), ChunkDone)
