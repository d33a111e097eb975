import pytest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkEnd, ChunkFailed, ChunkLost
from tetriserve.engine.ledger import Ledger
from tetriserve.engine.messages import Failure, Finished

FAILURE = Failure("a", "non_finite_latents", "NaN after steps 0 to 1")


class Bookkeeper(Ledger):
    """A ledger whose times don't matter, and of whose ends only the events."""

    def open(self, chunk: Chunk, sources: tuple[int, ...] = ()) -> None:  # type: ignore[override]
        super().open(chunk, 0.0, sources)

    def report(self, rank: int, report: Finished) -> list[ChunkEnd]:  # type: ignore[override]
        return [ended.event for ended in super().report(rank, report, 0.0)]


def chunk(chunk_id: int, *ids: str, devices: tuple[int, ...] = (0, 1)) -> Chunk:
    return Chunk(chunk_id, Stage.DENOISE, ids, devices, (0,) * len(ids), 1)


def test_a_chunk_lasts_from_the_first_start_to_the_last_end() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a"))
    assert ledger.report(1, Finished(0, 2.0, 4.0)) == []
    assert ledger.report(0, Finished(0, 1.0, 3.0)) == [ChunkDone(0, 1.0, 4.0)]


def test_what_one_rank_reports_fails_the_request_but_not_its_neighbour() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a", "b"))
    ledger.report(1, Finished(0, 1.0, 2.0, (FAILURE,)))
    assert ledger.report(0, Finished(0, 1.0, 2.0)) == [ChunkFailed(0, 1.0, 2.0, ("a",), FAILURE.code, FAILURE.message)]


def test_later_chunks_of_a_failed_request_fail_with_it_even_after_its_release() -> None:
    ledger = Bookkeeper()
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
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a"))
    ledger.open(later)
    ledger.report(1, Finished(0, 1.0, 2.0))
    assert ledger.report(later.devices[0], Finished(1, 2.0, 3.0)) == []
    assert [event.chunk_id for event in ledger.report(0, Finished(0, 1.0, 2.1))] == [0, 1]


def test_events_of_strangers_do_not_wait() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a"))
    ledger.open(chunk(1, "b", devices=(2,)))
    assert ledger.report(2, Finished(1, 2.0, 3.0)) == [ChunkDone(1, 2.0, 3.0)]


def test_lost_ranks_take_their_chunks_along_and_all_later_ones_of_the_same_requests() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a"))
    ledger.open(chunk(1, "b", devices=(1,)))
    ledger.open(chunk(2, "a", devices=(2,)))
    ledger.open(chunk(3, "c", devices=(3,)), sources=(1,))
    ledger.open(chunk(4, "d", devices=(2,)))
    ended = ledger.lose((1,), "died", 0.0)
    assert [one.event for one in ended] == [
        ChunkLost(0, "died", suspect=True),
        ChunkLost(1, "died", suspect=False),
        ChunkLost(2, "died", suspect=False),
        ChunkLost(3, "died", suspect=False),
    ]
    assert [one.chunk_id for one in ledger.take_doomed()] == [0, 1, 2, 3]
    assert ledger.report(0, Finished(0, 1.0, 2.0)) == []  # whatever survivors say of it
    assert ledger.report(2, Finished(4, 1.0, 2.0)) == [ChunkDone(4, 1.0, 2.0)]


def test_a_lost_chunk_ends_after_the_earlier_ones_of_its_request() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a", devices=(0,)))
    ledger.open(chunk(1, "a", devices=(1,)))
    assert ledger.lose((1,), "died", 0.0) == []
    assert [one.chunk_id for one in ledger.take_doomed()] == [1]
    assert ledger.report(0, Finished(0, 1.0, 2.0)) == [ChunkDone(0, 1.0, 2.0), ChunkLost(1, "died", suspect=False)]


def test_who_left_joint_work_for_a_request_fails_it_whatever_the_others_say() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a"))
    ledger.report(1, Finished(0, 1.0, 2.0, lost="broken off", cut=(0, 1)))
    (event,) = ledger.report(0, Finished(0, 1.0, 2.0, (FAILURE,), cut=(0, 1)))
    assert isinstance(event, ChunkFailed)


def test_a_batch_that_does_not_fit_is_lost_and_nobody_has_failed() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a", "b", devices=(0,)), 0.0)
    ledger.open(chunk(1, "b", devices=(0,)), 0.0)
    ended = ledger.report(0, Finished(0, 1.0, 2.0, lost="no memory", apart=True), 0.0)
    assert [one.event for one in ended] == [
        ChunkLost(0, "no memory", suspect=False, apart=True),
        ChunkLost(1, "no memory", suspect=False),
    ]


def test_a_chunk_hangs_when_it_takes_longer_than_it_may_from_when_it_could_begin() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a", devices=(0,))._replace(limit_s=10.0), 0.0)
    ledger.open(chunk(1, "b")._replace(limit_s=2.0), 0.0)
    assert ledger.overdue(9.0) is None
    ledger.report(0, Finished(0, 0.0, 9.0), 9.0)
    assert ledger.overdue(10.9) is None
    ranks, message = ledger.overdue(11.1) or (set(), "")
    assert ranks == {0, 1}
    assert message == "hung in denoise of b: 2.1 s, the limit is 2.0 s"


def test_time_runs_from_when_groups_are_there() -> None:
    ledger = Ledger()
    ledger.open(chunk(0, "a")._replace(limit_s=2.0), 0.0, epoch=3)
    assert not ledger.is_idle(0, epoch=4)
    assert ledger.is_idle(0, epoch=3)
    assert ledger.overdue(100.0) is None
    ledger.join(3, 100.0)
    assert ledger.overdue(101.0) is None
    assert ledger.overdue(103.0) is not None


def test_where_an_exchange_can_not_be_broken_off_partners_of_who_left_it_are_given_a_second() -> None:
    ledger = Ledger(can_abort=False)
    ledger.open(chunk(0, "a"), 0.0)
    ledger.report(0, Finished(0, 1.0, 5.0, (FAILURE,), cut=(0, 1)), 5.0)
    assert ledger.overdue(5.9) is None
    assert (ledger.overdue(6.1) or (set(), ""))[0] == {1}
    assert ledger.entangled({1}) == {0, 1}


def test_an_interrupted_step_that_is_over_but_not_told_yet_is_lost_with_its_rank() -> None:
    ledger = Bookkeeper()
    ledger.open(chunk(0, "a", devices=(2, 3)))
    ledger.report(2, Finished(0, 1.0, 2.0))
    for chunk_id, num_steps in ((1, 1.0), (2, 0.5)):
        ledger.open(chunk(chunk_id, "a")._replace(first_steps=(chunk_id,), num_steps=num_steps))
        for rank in (0, 1):
            assert ledger.report(rank, Finished(chunk_id, 2.0, 3.0)) == []
    assert ledger.lose((1,), "killed", 3.0) == []
    done, whole, lost = ledger.report(3, Finished(0, 1.0, 4.0))
    assert (done, whole) == (ChunkDone(0, 1.0, 4.0), ChunkDone(1, 2.0, 3.0))
    assert lost == ChunkLost(2, "killed", suspect=False)
