"""Which groups are made when, and what deaths do to that."""

from hypothesis import given
from hypothesis import strategies as st

from tetriserve.engine.membership import Membership, Plan


def make(members: Membership) -> set[int] | None:
    """Carry the plan under way out."""
    assert members.plan is not None
    epoch, ranks = members.plan.epoch, members.plan.ranks
    assert [members.arrive(rank, epoch) for rank in ranks] == [False] * (len(ranks) - 1) + [True]
    return [members.finish(rank, epoch) for rank in ranks][-1]


def four() -> Membership:
    """All of four have joined."""
    members = Membership(4)
    for rank in range(4):
        members.load(rank)
    members.next()
    assert make(members) == {0, 1, 2, 3}
    return members


def test_at_first_all_groups_are_made() -> None:
    members = Membership(4)
    for rank in range(4):
        members.load(rank)
    assert members.next() == Plan(1, (0, 1, 2, 3), ((0, 1), (2, 3), (0, 1, 2, 3)))
    assert members.next() is None
    assert make(members) == {0, 1, 2, 3}
    assert members.next() is None


def test_after_a_death_whole_blocks_stay_as_they_are() -> None:
    members = four()
    members.lose({3})
    assert members.next() == Plan(2, (0, 1, 2), ())
    assert make(members) == set()
    members.load(3)
    assert members.next() == Plan(3, (0, 1, 2, 3), ((2, 3), (0, 1, 2, 3)))
    assert make(members) == {3}


def test_a_block_in_whose_exchange_somebody_died_is_made_anew() -> None:
    members = four()
    members.lose({3})
    members.spoil((0, 1, 2, 3))
    assert members.next() == Plan(2, (0, 1, 2), ((0, 1),))


def test_a_block_that_was_left_is_made_anew_by_its_members_alone() -> None:
    members = four()
    members.spoil((2, 3))
    assert members.next() == Plan(2, (), ((2, 3), (0, 1, 2, 3)))
    assert make(members) == set()
    assert members.next() is None


def test_a_death_calls_the_plan_off_and_the_next_one_is_without_the_dead() -> None:
    members = four()
    members.lose({3})
    plan = members.next()
    members.arrive(0, 2)
    assert members.late == {1, 2}
    assert members.lose({2}) == plan
    assert not members.arrive(1, 2)
    assert members.finish(1, 2) is None
    assert members.next() == Plan(3, (0, 1), ())


def test_who_is_alone_needs_nobody() -> None:
    members = Membership(1)
    members.load(0)
    assert members.next() == Plan(1, (0,), ())
    assert make(members) == {0}


@given(st.lists(st.tuples(st.sampled_from(["die", "load", "spoil", "plan", "make"]), st.integers(0, 7))))
def test_whatever_happens_in_the_end_all_ranks_have_joined_and_all_groups_are_whole(events: list) -> None:
    members = Membership(8)
    for kind, rank in events:
        if kind == "die":
            members.lose({rank})
        elif kind == "load" and rank not in members.live:
            members.load(rank)
        elif kind == "spoil":
            members.spoil((rank // 4 * 4, rank // 4 * 4 + 1))
        elif kind == "plan":
            members.next()
        elif members.plan is not None:
            make(members)
        assert members.live.isdisjoint(members.loaded)
        assert members.plan is None or set(members.plan.ranks) <= members.live | members.loaded
    for rank in range(8):
        if rank not in members.live:
            members.load(rank)
    while members.plan is not None or members.next() is not None:
        make(members)
    assert members.live == set(range(8))
    members.spoil((0, 1, 2, 3, 4, 5, 6, 7))
    plan = members.next()
    assert plan is not None
    assert len(plan.blocks) == 7
