from hypothesis import given
from hypothesis import strategies as st

from parity.harness import Work
from tetriserve.core.blocks import all_blocks
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.placement import AtHand, HandOver, Placed, Placement, Revival

NUM_DEVICES = 4
BLOCKS = all_blocks(NUM_DEVICES)


def placed(work: Work, *sources: int) -> Placed:
    return Placed(*work, frozenset(sources))


def request(name: str) -> Request:
    return Request(name, "a cat", Size(64, 64), 4, 1.0, 0, 0.0, 0.0)


def work(chunk_id: int, stage: Stage, name: str, devices: tuple[int, ...]) -> Work:
    return Chunk(chunk_id, stage, (name,), devices, (0,), 1), (request(name),)


def test_a_move_carries_the_conditioning_only_once() -> None:
    placement = Placement()
    batch = [
        work(0, Stage.ENCODE, "a", (0,)),
        work(1, Stage.DENOISE, "a", (1,)),
        work(2, Stage.DENOISE, "a", (0,)),
        work(3, Stage.DENOISE, "a", (1,)),
    ]
    handovers = [entry for entry in placement.order(batch) if isinstance(entry, HandOver)]
    assert [(h.source, h.target, h.with_conditioning) for h in handovers] == [
        (0, 1, True),
        (1, 0, False),
        (0, 1, False),
    ]


def test_a_growing_block_is_served_by_all_its_holders() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (0, 1))])
    order = placement.order([work(2, Stage.DENOISE, "a", (0, 1, 2, 3))])
    assert order[:2] == [HandOver(request("a"), 0, 2, True), HandOver(request("a"), 1, 3, True)]


def test_a_settled_request_is_handed_over_before_others_work() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.ENCODE, "b", (0,))])
    busy, moved = work(2, Stage.DENOISE, "b", (0,)), work(3, Stage.DENOISE, "a", (1,))
    assert placement.order([busy, moved]) == [HandOver(request("a"), 0, 1, True), placed(busy), placed(moved, 0)]


def test_a_request_that_the_batch_moves_is_handed_over_afterwards() -> None:
    placement = Placement()
    encode, step = work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (1,))
    assert placement.order([encode, step]) == [placed(encode), HandOver(request("a"), 0, 1, True), placed(step, 0)]


def test_decoding_elsewhere_leaves_the_latents_where_they_are() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DECODE, "a", (1,))])
    assert placement.order([work(2, Stage.DENOISE, "a", (0,))]) == [placed(work(2, Stage.DENOISE, "a", (0,)))]


def test_what_a_lost_rank_held_is_taken_from_others_or_revived_where_it_is_needed() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (0, 1))])
    placement.order([work(2, Stage.ENCODE, "b", (1,))])
    placement.lose((1,))
    on_a, on_b = work(3, Stage.DENOISE, "a", (2,)), work(4, Stage.DENOISE, "b", (2, 3))
    assert placement.order([on_a]) == [HandOver(request("a"), 0, 2, True), placed(on_a, 0)]
    assert placement.order([on_b]) == [
        Revival(request("b"), 2, True),
        HandOver(request("b"), 2, 3, True),
        placed(on_b, 2),
    ]


def test_after_the_loss_of_a_chunk_nothing_that_ranks_hold_of_its_request_is_used() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (0,))])
    placement.scatter("a")
    step = work(2, Stage.DENOISE, "a", (1,))
    assert placement.order([step]) == [Revival(request("a"), 1, True), placed(step)]


def test_nobody_waits_for_a_rank_that_is_busy_with_others_work_if_the_latents_were_kept() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (0,))])
    busy = AtHand(busy_s={0: 0.3, 1: 0.0}.__getitem__, is_kept="a".__eq__)
    there, back = work(2, Stage.DENOISE, "a", (1,)), work(3, Stage.DENOISE, "a", (0, 1))
    assert placement.order([there], busy) == [Revival(request("a"), 1, True), placed(there)]
    assert placement.order([back], busy) == [HandOver(request("a"), 1, 0, False), placed(back, 1)]


def test_a_rank_that_knows_the_prompt_waits_for_another_only_as_long_as_a_copy_takes() -> None:
    for left_s, again in ((0.004, False), (0.02, True)):
        placement = Placement()
        placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (1,))])
        step = work(2, Stage.DENOISE, "a", (0,))
        move = Revival(request("a"), 0, False) if again else HandOver(request("a"), 1, 0, False)
        at_hand = AtHand(busy_s=lambda rank, left_s=left_s: left_s, is_kept=lambda _: True)
        assert placement.order([step], at_hand)[0] == move


def test_what_was_not_kept_is_waited_for() -> None:
    placement = Placement()
    placement.order([work(0, Stage.ENCODE, "a", (0,)), work(1, Stage.DENOISE, "a", (0,))])
    step = work(2, Stage.DENOISE, "a", (1,))
    at_hand = AtHand(busy_s=lambda _: 9.0, is_kept=lambda _: False)
    assert placement.order([step], at_hand) == [HandOver(request("a"), 0, 1, True), placed(step, 0)]


chunks = st.tuples(st.sampled_from("abc"), st.sampled_from(BLOCKS), st.integers(0, 3))


@given(
    st.lists(st.lists(chunks, min_size=1, max_size=5), max_size=8),
    st.dictionaries(st.integers(0, NUM_DEVICES - 1), st.just(1.0)),
    st.sets(st.sampled_from("abc")),
)
def test_nobody_ever_lacks_what_it_needs(
    batches: list[list[tuple[str, tuple[int, ...], int]]], busy_s: dict[int, float], kept: set[str]
) -> None:
    """Replay the order: version numbers stand for latents, and every rank must have the newest when it works.

    What was kept is the newest when the batch comes.
    """
    at_hand = AtHand(busy_s=lambda rank: busy_s.get(rank, 0.0), is_kept=kept.__contains__)
    placement = Placement()
    placement.order([work(-1, Stage.ENCODE, name, (0,)) for name in "abc"])
    version = dict.fromkeys("abc", 0)
    held = {(name, 0): 0 for name in "abc"}
    conditioned = {(name, 0) for name in "abc"}
    for batch in batches:
        stages = [Stage.DECODE if kind == 0 and len(block) == 1 else Stage.DENOISE for _, block, kind in batch]
        works = [work(0, stage, name, block) for stage, (name, block, _) in zip(stages, batch, strict=True)]
        kept_version = dict(version)
        for entry in placement.order(works, at_hand):
            if isinstance(entry, Revival):
                name = entry.request.request_id
                assert entry.anew or (name, entry.target) in conditioned
                assert kept_version[name] == version[name]
                assert name in kept
                held[name, entry.target] = version[name]
                conditioned |= {(name, entry.target)}
                continue
            if isinstance(entry, HandOver):
                name = entry.request.request_id
                assert held[name, entry.source] == version[name]
                assert (name, entry.source) in conditioned
                held[name, entry.target] = version[name]
                conditioned |= {(name, entry.target)} if entry.with_conditioning else set()
                continue
            assert isinstance(entry, Placed)
            chunk = entry.chunk
            name = chunk.request_ids[0]
            assert all(held[name, rank] == version[name] and (name, rank) in conditioned for rank in chunk.devices)
            version[name] += chunk.stage is Stage.DENOISE
            held |= {(name, rank): version[name] for rank in chunk.devices if chunk.stage is Stage.DENOISE}
