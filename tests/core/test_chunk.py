from tetriserve.core.chunk import Chunk, Stage, doomed
from tetriserve.core.progress import Progress
from tetriserve.core.request import Request
from tetriserve.core.size import Size

A = Request("a", "a cat", Size(64, 64), 4, 1.0, 0, 0.0, 0.0)


def chunk(chunk_id: int, stage: Stage, ids: str = "a", first: float = 0, num: float = 0) -> Chunk:
    return Chunk(chunk_id, stage, tuple(ids), (chunk_id,), (first,) * len(ids) if num else (), num)


def test_a_lost_chunk_takes_along_later_ones_that_share_a_request_with_one_that_is_lost() -> None:
    chunks = [chunk(index, Stage.DENOISE, ids, 0, 1) for index, ids in enumerate(["a", "b", "ac", "d", "c"])]
    assert doomed(chunks, lambda one: one.chunk_id == 0) == [chunks[0], chunks[2], chunks[4]]
    assert doomed(chunks, lambda one: one.chunk_id == 4) == [chunks[4]]


def test_after_a_loss_a_request_goes_on_exactly_where_it_is() -> None:
    progress = Progress()
    progress.done(chunk(0, Stage.ENCODE))
    progress.done(chunk(1, Stage.DENOISE, "a", 0, 2))
    progress.lose("a")
    assert not progress.accept(chunk(3, Stage.DECODE), [A])
    assert not progress.accept(chunk(4, Stage.DENOISE, "a", 3, 1), [A])
    assert progress.is_lost("a")
    assert progress.accept(chunk(5, Stage.DENOISE, "a", 2, 1), [A])
    assert not progress.is_lost("a")
    assert progress.accept(chunk(6, Stage.DENOISE, "a", 3, 1), [A])  # behind it, while it runs


def test_after_a_loss_a_step_is_taken_again_from_its_begin() -> None:
    progress = Progress()
    progress.done(chunk(0, Stage.ENCODE))
    progress.done(chunk(1, Stage.DENOISE, "a", 0, 1.25))
    assert progress.within_step() == {"a"}
    progress.lose("a")
    assert not progress.accept(chunk(2, Stage.DENOISE, "a", 1.25, 0.5), [A])
    assert progress.accept(chunk(3, Stage.DENOISE, "a", 1, 1), [A])


def test_who_was_never_encoded_begins_with_that() -> None:
    progress = Progress()
    progress.lose("a")
    assert not progress.accept(chunk(1, Stage.DENOISE, "a", 0, 1), [A])
    assert progress.accept(chunk(2, Stage.ENCODE), [A])
