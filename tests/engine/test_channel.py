"""Messages of any size arrive whole, and nobody waits for a reader who doesn't read."""

import os
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from tetriserve.engine.channel import Channel


def pair() -> tuple[Channel, Connection]:
    ours, theirs = Pipe()
    return Channel(ours), theirs


def read_all(channel: Channel, count: int) -> list[bytes]:
    messages: list[bytes] = []
    while len(messages) < count:
        messages += channel.receive()
    return messages


def test_both_ways_messages_keep_their_bounds_and_order() -> None:
    channel, other = pair()
    for message in (b"a", b"", b"bc"):
        channel.send(message)
    assert [other.recv_bytes() for _ in range(3)] == [b"a", b"", b"bc"]
    for message in (b"1", b"23"):
        other.send_bytes(message)
    assert read_all(channel, 2) == [b"1", b"23"]


def test_a_sender_does_not_wait_and_what_did_not_fit_goes_later() -> None:
    channel, other = pair()
    large = os.urandom(3 << 20)
    begin_s = time.monotonic()
    channel.send(large)
    channel.send(b"after")
    assert time.monotonic() - begin_s < 1.0
    assert channel.has_unsent
    receiver = Channel(other)
    messages: list[bytes] = []
    while len(messages) < 2:
        messages += receiver.receive()
        channel.flush()
    assert messages == [large, b"after"]
    assert not channel.has_unsent


def test_half_a_message_is_kept_until_the_rest_comes_and_lost_with_its_sender() -> None:
    channel, other = pair()
    os.write(other.fileno(), b"\0\0\0\5ab")
    assert channel.receive() == []
    os.write(other.fileno(), b"cde")
    assert channel.receive() == [b"abcde"]
    os.write(other.fileno(), b"\0\0\0\5ab")
    other.close()
    assert channel.receive() == []
    with pytest.raises((EOFError, OSError)):
        channel.receive()


def test_a_closed_channel_takes_nothing() -> None:
    channel, other = pair()
    channel.close()
    with pytest.raises(OSError, match="closed"):
        channel.send(b"a")
    with pytest.raises(EOFError):
        other.recv_bytes()
