"""The packet engine's arithmetic: losses in bursts, checksums, and which bits are changed."""

import itertools
import random
import socket
import struct

import pytest

from harness.environments.linux.packets import Condition, Queue, _is_lost, _one_bit_changed, with_checksum


@pytest.mark.parametrize(("share", "burst"), [(0.1, 1), (0.1, 4), (0.3, 10), (0.02, 3)])
def test_losses_have_the_wanted_share_and_come_in_the_wanted_bursts(share, burst):
    chances = random.Random(5)
    queue = Queue(Condition(lose=share, burst=burst))
    lost = [_is_lost(queue, chances.random) for _ in range(200_000)]
    assert sum(lost) / len(lost) == pytest.approx(share, rel=0.1)
    runs = [len(list(group)) for is_lost, group in itertools.groupby(lost) if is_lost]
    wanted = burst if burst > 1 else 1 / (1 - share)
    assert sum(runs) / len(runs) == pytest.approx(wanted, rel=0.1)


def packet(protocol: int, body: bytes) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(body),
        1,
        0,
        64,
        protocol,
        0,
        socket.inet_aton("10.0.0.1"),
        socket.inet_aton("10.0.0.2"),
    )
    return head + body


def is_right(sent: bytes) -> bool:
    """The receiver's test: all words of pseudo header and body, the checksum included, add up to ones."""
    body = sent[20:]
    summed = sent[12:20] + struct.pack(">BBH", 0, sent[9], len(body)) + body + b"\0" * (len(body) % 2)
    total = sum(struct.unpack(f">{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


@pytest.mark.parametrize("length", [0, 1, 2, 77, 1400])
def test_checksums_are_those_that_a_receiver_computes(length):
    load = bytes(random.Random(length).randbytes(length))
    udp = packet(socket.IPPROTO_UDP, struct.pack(">HHHH", 9, 9, 8 + length, 0x1234) + load)
    tcp = packet(socket.IPPROTO_TCP, struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x50, 16, 100, 0x1234, 0) + load)
    for one in (udp, tcp):
        assert is_right(with_checksum(one))
        assert len(with_checksum(one)) == len(one)


def test_other_protocols_stay_as_they_are():
    other = packet(socket.IPPROTO_ICMP, b"12345678")
    assert with_checksum(other) == other


def test_damage_is_one_bit_behind_the_header_of_ip():
    sent = packet(socket.IPPROTO_UDP, bytes(40))
    for seed in range(50):
        damaged = _one_bit_changed(sent, random.Random(seed))
        assert damaged[:20] == sent[:20]
        assert sum((a ^ b).bit_count() for a, b in zip(sent, damaged, strict=True)) == 1
    assert _one_bit_changed(sent[:20], random.Random(1)) == sent[:20], "there is nothing to damage"
