"""The exchange against attention on one device, in real processes with a real backend."""

import itertools
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tetriserve.engine.entry import PRELOAD_MODULE
from tetriserve.models.attention import JointAttention, attention
from tetriserve.models.ulysses import ALONE, Link, SequenceGroup, TokenSplit, split_sizes

DEGREES = (2, 3, 4)
CASES = tuple(itertools.product((1, 2), (4, 3, 7), ((8, 12), (7, 31), (1, 2))))
"""(batch, heads, (text tokens, image tokens)): divisible by the degree and not, fewer than ranks."""
WIDTH = 8


def inputs(batch: int, heads: int, tokens: tuple[int, int]) -> Tensor:
    """q, k and v of all tokens: (L, B, 3, H, W)."""
    generator = torch.Generator().manual_seed(batch * 100 + heads)
    return torch.randn(sum(tokens), batch, 3, heads, WIDTH, generator=generator)


def rank_main(connection: Connection, rank: int, degree: int, rendezvous: str) -> None:
    """Run every case on one of `degree` ranks and send back the greatest error of each."""
    torch.set_num_threads(1)
    store = dist.FileStore(rendezvous, degree)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=degree)
    group = SequenceGroup(rank, degree, Link(dist.group.WORLD))
    connection.send([error_of_case(group, *case) for case in CASES])


def error_of_case(group: SequenceGroup, batch: int, heads: int, tokens: tuple[int, int]) -> float:
    text, image = (TokenSplit.even(count, group) for count in tokens)
    whole = inputs(batch, heads, tokens)
    expected = attention(whole).flatten(2)
    own = torch.cat((text.shard(whole[: tokens[0]]), image.shard(whole[tokens[0] :])))
    mine = torch.cat((text.shard(expected[: tokens[0]]), image.shard(expected[tokens[0] :])))
    out = JointAttention(heads, text.joined(image), text.own_length)(own.flatten(2), None)
    gathered = image.gather(out[text.own_length :])
    return max(greatest(out - mine), greatest(gathered - expected[tokens[0] :]))


def greatest(difference: Tensor) -> float:
    return difference.abs().max().item() if difference.numel() else 0.0


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, list[list[float]]]]:
    """By degree: each rank's errors, case by case."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD_MODULE])
    found = {}
    for degree in DEGREES:
        rendezvous: Path = tmp_path_factory.mktemp("rendezvous") / str(degree)
        pipes = [context.Pipe(duplex=False) for _ in range(degree)]
        ranks = [
            context.Process(target=rank_main, args=(pipe[1], rank, degree, str(rendezvous)), daemon=True)
            for rank, pipe in enumerate(pipes)
        ]
        for process in ranks:
            process.start()
        found[degree] = [ours.recv() if ours.poll(60) else [] for ours, _ in pipes]
        for process in ranks:
            process.join()
    yield found


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("index", range(len(CASES)), ids=[str(case) for case in CASES])
def test_every_split_gives_the_same_attention(degree: int, index: int, errors: dict[int, list[list[float]]]) -> None:
    assert max(rank[index] for rank in errors[degree]) < 1e-6


def test_shares_differ_by_one_at_most() -> None:
    assert split_sizes(10, 4) == (3, 3, 2, 2)
    assert split_sizes(3, 4) == (1, 1, 1, 0)


def test_alone_nothing_is_exchanged() -> None:
    qkv = inputs(1, 3, (2, 3))
    split = TokenSplit.even(5, ALONE)
    assert torch.equal(JointAttention(3, split, 2)(qkv.flatten(2), None), attention(qkv).flatten(2))
    assert split.shard(qkv) is qkv
