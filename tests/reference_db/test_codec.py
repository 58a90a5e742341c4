"""Frames: what goes in comes out, in any pieces, and what isn't a frame ends the connection with a reason."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db import api
from reference_db.codec import (
    FrameDecoder,
    FrameError,
    PeerFrame,
    PeerMessage,
    encode_frame,
    encode_peer_frames,
)
from reference_db.raft.messages import ConfState, Entry, Message, MessageKind, Snapshot
from reference_db.timestamp import Timestamp

NOW = Timestamp(1_700_000_000_000_000_000, 7)
TRANSACTION = api.Transaction(b"t" * 16, b"anchor", NOW, NOW.next())

EVERY_OPERATION: list[api.RangeOperation] = [
    api.Get(b"k"),
    api.Scan(b"a", None, 10, True),
    api.Refresh(b"a", b"b", NOW),
    api.Put(b"k", b"\x00v"),
    api.Delete(b"k"),
    api.CompareAndSet(b"k", None, b"new"),
    api.WriteIntent(b"k", None, 3),
    api.CreateRecord((b"k", b"l")),
    api.QueryIntent(b"k", b"i" * 16),
    api.TakeTimestamps(3),
    api.RecoverTransaction(TRANSACTION, NOW, True),
    api.CommitAtOnce(((b"k", b"v"), (b"l", None)), True, True),
    api.HeartbeatRecord(),
    api.EndTransaction(True, False, True, (b"k",)),
    api.PushTransaction(TRANSACTION, api.PushKind.ABORT, None, NOW),
    api.ResolveIntents(b"t" * 16, (b"k",), api.TransactionStatus.COMMITTED, NOW),
    api.DeleteRecord(TRANSACTION),
    api.SplitRange(b"k", 9),
    api.FreezeRange(b"k", 1, 2, b""),
    api.ThawRange(b"k", 2, 3),
    api.AbsorbRange(b"", b"right"),
    api.BumpRange(b"", 1, 2),
    api.AwaitFrozen(b"k", 3),
    api.MoveReplica(b"k", 1, 2, 0, "n4", "n1"),
    api.TransferRange(b"k", 1, "n2"),
    api.RetireReplica(b"k", b"descriptor"),
    api.ReportPlacement(b"state"),
    api.Add(b"k", -3),
    api.TakeTimestamps(2),
    api.CollectVersions(b"k", NOW, 100),
    api.CheckLock(b"k", TRANSACTION),
]
EVERY_RESULT: list[api.Result] = [
    api.ValueResult(None),
    api.ScanResult(((b"a", b"1"),), b"b"),
    api.Refreshed(),
    api.Written(NOW),
    api.Compared(False, b"x", NOW),
    api.RecordState(api.TransactionStatus.PENDING, NOW, NOW),
    api.Resolved(2),
    api.Reshaped((b"left", b"right")),
    api.IntentState(True),
    api.PlacementReported(b"report"),
    api.TimestampsTaken(NOW, 3),
    api.Added(3, NOW),
    api.TimestampsTaken(NOW, 2),
    api.Collected(NOW, 3, b"k"),
    api.LockState(True, NOW),
]
EVERY_ERROR: list[api.RangeError] = [
    api.NotLeader(1, "n2"),
    api.RangeMismatch(1, b"descriptor", (b"another",)),
    api.IntentConflict((api.Conflict(b"k", TRANSACTION, NOW),), api.PushKind.TIMESTAMP, NOW),
    api.ReadUncertain(NOW),
    api.RefreshFailed(b"k"),
    api.TransactionAborted("why"),
    api.TransactionPushed(NOW),
    api.Ambiguous("why"),
    api.Overloaded("why"),
    api.TimedOut("why"),
    api.BadRequest("why"),
    api.Unavailable("why"),
    api.WriteConflict(b"k", NOW),
    api.SessionExpired("why"),
    api.SnapshotTooOld(NOW),
    api.WriteConflict(b"k", NOW),
]
APPEND = Message(
    MessageKind.APPEND, 2, 1, 5, 9, 4, 8, (Entry(5, 10, b"command"),), context=b"c", snapshot=Snapshot(3, 2)
)


def everything() -> PeerFrame:
    requests = [
        api.RangeRequest(i, 3, 1, (operation,), NOW, TRANSACTION, (api.Pushed(b"p" * 16, NOW),), True)
        for i, operation in enumerate(EVERY_OPERATION)
    ]
    replies = [api.RangeReply(i, (result,), NOW) for i, result in enumerate(EVERY_RESULT)]
    errors = [api.RangeReply(i, error=error) for i, error in enumerate(EVERY_ERROR)]
    messages: tuple[PeerMessage, ...] = (*requests, *replies, *errors)
    return PeerFrame("n1", NOW, ((3, APPEND), (4, APPEND)), messages)


def test_every_operation_result_and_error_crosses_the_wire() -> None:
    frame = everything()
    assert FrameDecoder(PeerFrame).feed(encode_frame(frame)) == [frame]


def test_every_error_says_whether_it_is_definite() -> None:
    assert [type(error).__name__ for error in EVERY_ERROR if not error.definite] == ["Ambiguous"]
    assert set(map(type, EVERY_ERROR)) == set(api.RangeError.__args__)
    assert set(map(type, EVERY_OPERATION)) == set(api.RangeOperation.__args__)
    assert set(map(type, EVERY_RESULT)) == set(api.Result.__args__)
    assert all(isinstance(error.definite, bool) for error in api.ClientError.__args__)


def test_client_frames_cross_the_wire() -> None:
    operations: list[api.ClientOperation] = [
        api.ClientGet(b"k", 1),
        api.ClientPut(b"k", b"v"),
        api.ClientDelete(b"k"),
        api.ClientCompareAndSet(b"k", b"a", None),
        api.ClientScan(b"", None, 5, True, 2),
        api.BeginTransaction(NOW),
        api.CommitTransaction(1),
        api.RollbackTransaction(1),
        api.Status(),
        api.ClientAdd(b"k", 1),
        api.OpenSession(),
    ]
    requests = [api.ClientRequest(i, operation, 500) for i, operation in enumerate(operations)]
    received = FrameDecoder(api.ClientRequest).feed(b"".join(encode_frame(one) for one in requests))
    assert received == requests
    reply = api.ClientReply(1, [b"value", {"n": 1}], api.TransactionRetry("again", NOW))
    assert FrameDecoder(api.ClientReply).feed(encode_frame(reply)) == [reply]


@given(
    st.lists(
        st.builds(
            api.ClientRequest,
            st.integers(0, 2**32),
            st.builds(api.ClientPut, st.binary(max_size=40), st.binary(max_size=300), st.integers(0, 9)),
        ),
        max_size=8,
    ),
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
)
def test_any_pieces_give_the_same_frames(requests: list[api.ClientRequest], sizes: list[int]) -> None:
    stream = b"".join(encode_frame(request) for request in requests)
    decoder: FrameDecoder[api.ClientRequest] = FrameDecoder(api.ClientRequest)
    received: list[api.ClientRequest] = []
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        received += decoder.feed(stream[at : at + size])
        at += size
        turn += 1
    assert received == requests
    assert decoder.pending_bytes == 0


def test_a_torn_frame_is_waited_for_and_shows() -> None:
    frame = encode_frame(api.ClientRequest(1, api.ClientGet(b"key")))
    decoder: FrameDecoder[api.ClientRequest] = FrameDecoder(api.ClientRequest)
    assert decoder.feed(frame[:-1]) == []
    assert decoder.pending_bytes == len(frame) - 1
    assert len(decoder.feed(frame[-1:])) == 1


def test_a_long_frame_in_many_pieces_is_joined_once() -> None:
    """A large snapshot arrives in thousands of pieces; each must cost the same, however many came before."""
    request = api.ClientRequest(1, api.ClientPut(b"k", b"v" * 500_000))
    frame = encode_frame(request) + encode_frame(request)[:3]
    decoder: FrameDecoder[api.ClientRequest] = FrameDecoder(api.ClientRequest)
    received: list[api.ClientRequest] = []
    for at in range(0, len(frame), 100):
        received += decoder.feed(frame[at : at + 100])
        assert sum(map(len, decoder._parts)) == decoder.pending_bytes
        assert len(decoder._parts) <= 1 or len(decoder._parts[-1]) == 100
    assert received == [request]
    assert decoder.pending_bytes == 3


def test_an_announced_length_above_the_limit_is_refused_at_once() -> None:
    with pytest.raises(FrameError, match="1195725856 bytes is announced"):
        FrameDecoder(api.ClientRequest).feed(b"GET / HTTP/1.1\r\n")


def test_a_frame_above_the_limit_is_never_sent() -> None:
    request = api.ClientRequest(1, api.ClientPut(b"k", b"v" * 100))
    with pytest.raises(FrameError, match="longer than the limit of 64; send smaller values"):
        encode_frame(request, max_bytes=64)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02",
        b"\xff" * 20,
        msgspec.msgpack.encode([1, [99, b"k"], 0]),
        msgspec.msgpack.encode({"request_id": 1}),
        msgspec.msgpack.encode(["one", [1, b"k"]]),
    ],
)
def test_garbage_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(FrameError, match="is no ClientRequest"):
        FrameDecoder(api.ClientRequest).feed(len(body).to_bytes(4, "big") + body)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(received: bytes) -> None:
    decoder: FrameDecoder[PeerFrame] = FrameDecoder(PeerFrame, max_bytes=1000)
    with contextlib.suppress(FrameError):
        decoder.feed(received)


def test_a_turn_that_is_too_long_for_one_frame_is_split_in_order() -> None:
    snapshot = Snapshot(9, 2, ConfState((1, 2, 3)), b"s" * 400)
    raft = [(i, Message(MessageKind.SNAPSHOT, 2, 1, 5, snapshot=snapshot)) for i in range(5)]
    messages: list[PeerMessage] = [api.RangeReply(i, (api.ValueResult(b"v" * 300),)) for i in range(4)]
    frames = encode_peer_frames("n1", NOW, raft, messages, max_bytes=1000)
    assert len(frames) > 1
    assert all(len(frame) <= 1004 for frame in frames)
    received = FrameDecoder(PeerFrame).feed(b"".join(frames))
    assert [one for frame in received for one in frame.raft] == raft
    assert [one for frame in received for one in frame.messages] == messages
    assert {(frame.sender, frame.clock) for frame in received} == {("n1", NOW)}


def test_a_single_message_that_fits_no_frame_is_an_error() -> None:
    message = Message(MessageKind.SNAPSHOT, 2, 1, snapshot=Snapshot(9, 2, data=b"s" * 2000))
    with pytest.raises(FrameError, match="longer than the limit of 1000"):
        encode_peer_frames("n1", NOW, [(1, message)], max_bytes=1000)


def test_one_turn_is_one_frame() -> None:
    assert len(encode_peer_frames("n1", NOW, [(i, APPEND) for i in range(64)])) == 1
