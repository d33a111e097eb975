"""What the scheduler relies on, whoever does the work (see core/executor.py)."""

import time
from itertools import pairwise

from contract.harness import FAILING_ID, WATCHED_ID, Harness
from tetriserve.core.chunk import Stage
from tetriserve.core.events import ChunkDone, ChunkEnd, ChunkFailed, ChunkLost, StepDone, WorkersBack, WorkersLost
from tetriserve.core.outcome import CANCELLED


def test_the_number_of_devices_is_known(harness: Harness) -> None:
    assert harness.executor.num_devices == 4


def test_every_chunk_ends_in_one_event(harness: Harness) -> None:
    chunks = harness.image("a", ((0, 1), 2), ((0, 1, 2, 3), 2))
    harness.submit(*chunks)
    harness.settle()
    ends = harness.ends()
    assert set(ends) == {chunk.chunk_id for chunk in chunks}
    for end in ends.values():
        assert isinstance(end, ChunkDone)
        assert end.started_s <= end.finished_s


def test_submit_returns_before_the_work_is_done(harness: Harness) -> None:
    harness.submit(*harness.image("a", ((0,), 4)))
    assert len(harness.ends()) < 3
    harness.settle()
    assert len(harness.ends()) == 3


def test_a_device_runs_its_chunks_in_order(harness: Harness) -> None:
    chunks = [*harness.image("a", ((0, 1), 4)), *harness.image("b", ((0, 1), 4)), *harness.image("c", ((0,), 4))]
    harness.submit(*chunks)
    harness.settle()
    assert_in_order(harness, [chunk.chunk_id for chunk in chunks])


def test_a_request_runs_its_chunks_in_order_on_different_devices(harness: Harness) -> None:
    chunks = harness.image("a", ((0,), 1), ((2, 3), 1), ((1,), 1), ((0, 1, 2, 3), 1))
    harness.submit(*chunks)
    harness.settle()
    assert_in_order(harness, [chunk.chunk_id for chunk in chunks])


def test_a_group_waits_for_all_its_devices(harness: Harness) -> None:
    first, wide = harness.image("a", ((3,), 4)), harness.image("b", ((0, 1, 2, 3), 4))
    harness.submit(*first, *wide)
    harness.settle()
    ends = harness.ends()
    assert ends[wide[1].chunk_id].started_s >= ends[first[-1].chunk_id].finished_s - harness.skew_s


def test_chunks_can_be_queued_while_others_run(harness: Harness) -> None:
    chunks = harness.image("a", ((0, 1), 2), ((2, 3), 2))
    for chunk in chunks:
        harness.submit(chunk)
    harness.settle()
    assert_in_order(harness, [chunk.chunk_id for chunk in chunks])


def test_two_requests_take_steps_together(harness: Harness) -> None:
    encode = [harness.chunk(Stage.ENCODE, (id_,), (0,)) for id_ in ("a", "b")]
    both = harness.chunk(Stage.DENOISE, ("a", "b"), (0,), range(4))
    decode = [harness.chunk(Stage.DECODE, (id_,), (0,)) for id_ in ("a", "b")]
    harness.submit(*encode, both, *decode)
    harness.settle()
    assert all(isinstance(end, ChunkDone) for end in harness.ends().values())
    assert len(harness.ends()) == 5


def test_every_step_of_a_watched_request_is_told_and_the_last_of_a_chunk_by_its_end(harness: Harness) -> None:
    watched, other = harness.image(WATCHED_ID, ((0,), 1), ((0, 1), 3)), harness.image("other", ((2, 3), 4))
    harness.submit(*watched, *other)
    harness.settle()
    mine = {chunk.chunk_id for chunk in watched}
    told = [event for event in harness.events if isinstance(event, StepDone)]
    assert told == [StepDone(watched[2].chunk_id, 1), StepDone(watched[2].chunk_id, 2)]
    ends = [event for event in harness.events if isinstance(event, StepDone | ChunkEnd) and event.chunk_id in mine]
    assert [type(event) for event in ends] == [ChunkDone, ChunkDone, StepDone, StepDone, ChunkDone, ChunkDone]


def test_steps_that_are_interrupted_are_told_when_they_end_and_the_last_of_a_chunk_by_its_end(harness: Harness) -> None:
    parts = [((0, 1), 0.5), ((0, 1), 1.0), ((0, 1), 1.75), ((0, 1), 0.75)]
    chunks = harness.image(WATCHED_ID, *parts)
    harness.submit(*chunks)
    harness.settle()
    assert all(isinstance(end, ChunkDone) for end in harness.ends().values())
    assert [event for event in harness.events if isinstance(event, StepDone)] == [StepDone(chunks[3].chunk_id, 0.5)]


def test_after_a_loss_a_step_that_was_interrupted_is_taken_again(harness: Harness) -> None:
    """What is planned as if a part of it were there is lost, also of a request that had nothing in flight."""
    begun = harness.image("a", ((0, 1), 1.5))[:2]
    harness.submit(*begun)
    harness.settle()
    harness.lose_device(1)
    harness.settle()
    stale = harness.chunk(Stage.DENOISE, ("a",), (0, 1))._replace(first_steps=(1.5,), num_steps=2.5)
    harness.submit(stale)
    harness.settle()
    again = harness.chunk(Stage.DENOISE, ("a",), (0,))._replace(first_steps=(1,), num_steps=3)
    decode = harness.chunk(Stage.DECODE, ("a",), (0,))
    harness.submit(again, decode)
    harness.settle()
    ends = harness.ends()
    assert isinstance(ends[stale.chunk_id], ChunkLost)
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in (*begun, again, decode))


def test_a_request_that_is_cancelled_within_a_step_leaves_everybody_in_step(harness: Harness) -> None:
    cancelled, other = harness.image("a", ((0, 1), 0.5), ((0, 1), 3.5)), harness.image("b", ((0, 1), 4))
    harness.submit(*cancelled[:2])
    harness.executor.cancel("a")
    harness.submit(*cancelled[2:], *other)
    harness.settle()
    ends = harness.ends()
    assert set(ends) == {chunk.chunk_id for chunk in (*cancelled, *other)}
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in other)


def test_a_step_of_a_batch_is_told_if_one_of_it_is_watched(harness: Harness) -> None:
    encode = [harness.chunk(Stage.ENCODE, (id_,), (0,)) for id_ in ("a", WATCHED_ID)]
    both = harness.chunk(Stage.DENOISE, ("a", WATCHED_ID), (0,), range(4))
    harness.submit(*encode, both)
    harness.settle()
    told = [event.num_steps for event in harness.events if isinstance(event, StepDone)]
    assert told == [1, 2, 3]


def test_a_failing_request_touches_no_other(harness: Harness) -> None:
    """Its chunk ends as failed, chunks queued behind it get their event too, and the device is well."""
    bad, good = harness.image(FAILING_ID, ((0,), 4)), harness.image("good", ((0,), 4))
    harness.submit(*bad, *good)
    harness.settle()
    ends = harness.ends()
    assert set(ends) == {chunk.chunk_id for chunk in (*bad, *good)}
    failed = ends[bad[1].chunk_id]
    assert isinstance(failed, ChunkFailed)
    assert failed.failed_ids == (FAILING_ID,)
    assert failed.code
    assert failed.message
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in good)


def test_a_lost_device_takes_its_chunks_along_and_nobody_elses_and_comes_back(harness: Harness) -> None:
    mine, others = harness.image("mine", ((0, 1), 4)), harness.image("others", ((2, 3), 2), ((2,), 2))
    harness.submit(*mine, *others)
    harness.lose_device(1)
    harness.settle()
    lost, back = harness.changes()
    assert isinstance(lost, WorkersLost)
    assert lost.devices == (1,)
    assert lost.message
    assert back == WorkersBack((1,))
    ends = harness.ends()
    assert all(isinstance(ends[chunk.chunk_id], ChunkLost) for chunk in mine[1:])
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in others)
    assert [id_ for id_ in ends if id_ in {chunk.chunk_id for chunk in mine}] == [chunk.chunk_id for chunk in mine]


def test_a_request_goes_on_after_its_last_chunk_that_was_done_wherever_that_was(harness: Harness) -> None:
    encode, first, second, decode = harness.image("a", ((1,), 2), ((0, 1), 2))
    harness.submit(encode, first)
    harness.settle()
    harness.submit(second, decode)
    harness.lose_device(1)
    harness.settle()
    rest = harness.chunk(Stage.DENOISE, ("a",), (0,), range(2, 4)), harness.chunk(Stage.DECODE, ("a",), (2,))
    harness.submit(*rest)
    harness.settle()
    ends = harness.ends()
    kinds = [type(ends[chunk.chunk_id]) for chunk in (encode, first, second, decode, *rest)]
    assert kinds == [ChunkDone, ChunkDone, ChunkLost, ChunkLost, ChunkDone, ChunkDone]


def test_a_lost_encoding_is_done_again(harness: Harness) -> None:
    before = harness.image("before", ((0, 1, 2, 3), 4))
    first = harness.image("a", ((0,), 4))
    harness.submit(*before, *first)
    harness.lose_device(0)
    harness.settle()
    again = harness.image("a", ((1, 2)[:1], 4))
    harness.submit(*again)
    harness.settle()
    ends = harness.ends()
    assert all(isinstance(ends[chunk.chunk_id], ChunkLost) for chunk in first)
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in again)


def test_what_is_submitted_to_a_lost_device_or_as_if_a_lost_chunk_had_been_done_is_lost(harness: Harness) -> None:
    encode, first, second, third, decode = harness.image("a", ((0,), 1), ((3,), 1), ((0,), 2))
    harness.submit(encode, first)
    harness.settle()
    harness.submit(second)
    harness.lose_device(3)
    harness.submit(third, decode)
    harness.settle()
    ends = harness.ends()
    assert [type(ends[chunk.chunk_id]) for chunk in (second, third, decode)] == [ChunkLost] * 3
    rest = harness.chunk(Stage.DENOISE, ("a",), (3,), range(1, 4)), harness.chunk(Stage.DECODE, ("a",), (3,))
    harness.submit(*rest)
    harness.settle()
    assert all(isinstance(harness.ends()[chunk.chunk_id], ChunkDone) for chunk in rest)


def test_several_devices_can_be_lost_at_once(harness: Harness) -> None:
    harness.submit(*harness.image("a", ((0, 1, 2, 3), 4)))
    for device in (0, 2, 3):
        harness.lose_device(device)
    harness.settle()
    gone = [device for change in harness.changes() if isinstance(change, WorkersLost) for device in change.devices]
    assert sorted(gone) == [0, 2, 3]
    harness.submit(*(again := harness.image("b", ((0, 1, 2, 3), 4))))
    harness.settle()
    assert all(isinstance(harness.ends()[chunk.chunk_id], ChunkDone) for chunk in again)


def test_a_request_can_be_released_and_come_again(harness: Harness) -> None:
    for _ in range(2):
        harness.submit(*harness.image("a", ((0,), 4)))
        harness.settle()
        harness.executor.release("a")
    harness.executor.release("never seen")
    assert len(harness.ends()) == 6


def test_what_waits_of_a_cancelled_request_takes_no_time(harness: Harness) -> None:
    """Queued behind another's work, all of it is void: one failed event a chunk, and the others don't notice."""
    before, gone = harness.image("before", ((0, 1, 2, 3), 4)), harness.image("gone", ((0, 1), 2), ((0, 1, 2, 3), 2))
    after = harness.image("after", ((0, 1, 2, 3), 4))
    harness.submit(*before, *gone, *after)
    harness.executor.cancel("gone")
    harness.settle()
    ends = harness.ends()
    assert set(ends) == {chunk.chunk_id for chunk in (*before, *gone, *after)}
    assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in (*before, *after))
    for chunk in gone[1:]:  # its encoding may have begun
        end = ends[chunk.chunk_id]
        assert isinstance(end, ChunkFailed)
        assert (end.failed_ids, end.code) == (("gone",), CANCELLED)
        assert end.finished_s - end.started_s < harness.skew_s


def test_a_batch_goes_on_for_those_who_are_left(harness: Harness) -> None:
    encode = [harness.chunk(Stage.ENCODE, (id_,), (0,)) for id_ in ("a", "b")]
    both = harness.chunk(Stage.DENOISE, ("a", "b"), (0,), range(4))
    decode = [harness.chunk(Stage.DECODE, (id_,), (0,)) for id_ in ("a", "b")]
    harness.submit(*encode)
    harness.settle()
    harness.executor.cancel("a")
    harness.submit(both, *decode)
    harness.settle()
    ends = harness.ends()
    assert isinstance(ends[both.chunk_id], ChunkDone)
    assert isinstance(ends[decode[0].chunk_id], ChunkFailed)
    assert isinstance(ends[decode[1].chunk_id], ChunkDone)


def test_cancelling_in_the_midst_of_joint_work_leaves_everybody_in_step(harness: Harness) -> None:
    """Devices hear of it at different moments; none may wait for one that has skipped."""
    for round_ in range(8):
        gone = harness.image(f"gone{round_}", ((0, 1), 1), ((0, 1, 2, 3), 1), ((2, 3), 1), ((0, 1, 2, 3), 1))
        stays = harness.image(f"stays{round_}", ((0, 1, 2, 3), 2), ((2,), 2))
        for chunk in gone:
            harness.submit(chunk)
        time.sleep(0.002 * round_)
        harness.executor.cancel(f"gone{round_}")
        harness.submit(*stays)
        harness.settle()
        ends = harness.ends()
        assert {chunk.chunk_id for chunk in (*gone, *stays)} <= set(ends)
        assert all(isinstance(ends[chunk.chunk_id], ChunkDone) for chunk in stays)


def test_a_cancelled_request_can_come_again_after_its_release(harness: Harness) -> None:
    harness.executor.cancel("a")
    for _ in range(2):
        chunks = harness.image("a", ((0,), 4))
        harness.submit(*chunks)
        harness.settle()
        assert isinstance(harness.ends()[chunks[-1].chunk_id], ChunkDone)
        harness.executor.cancel("a")
        harness.executor.release("a")


def assert_in_order(harness: Harness, chunk_ids: list[int]) -> None:
    ends = harness.ends()
    assert list(ends) == chunk_ids
    for former, latter in pairwise(chunk_ids):
        assert ends[latter].started_s >= ends[former].finished_s - harness.skew_s
