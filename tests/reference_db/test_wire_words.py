"""What nodes and clients say, in words: each kind of message with what it is about."""

import pytest

from reference_db import wire_words
from reference_db.api import (
    ClientGet,
    ClientPut,
    ClientReply,
    ClientRequest,
    Get,
    NotLeader,
    Put,
    RangeReply,
    RangeRequest,
    Unavailable,
    ValueResult,
)
from reference_db.codec import PeerFrame, encode_frame
from reference_db.raft.messages import Entry, Message, MessageKind
from reference_db.ranges.heartbeats import Heartbeats
from reference_db.timestamp import ZERO
from reference_db.wire_words import Words


def told(*raft, messages=(), heartbeats=None):
    return wire_words.between_nodes(
        encode_frame(PeerFrame("n1", ZERO, raft, messages, heartbeats=heartbeats))
    )


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (
            Message(MessageKind.APPEND, 2, 1, 7, 3, 6, 3, (Entry(7, 4), Entry(7, 5))),
            "append",
            "entries 4 to 5, commit 3",
        ),
        (Message(MessageKind.APPEND, 2, 1, 7, 3, 6, 3), "append", "no entries, after 3, commit 3"),
        (Message(MessageKind.APPEND_RESPONSE, 1, 2, 7, 5), "append response", "has up to 5"),
        (
            Message(MessageKind.APPEND_RESPONSE, 1, 2, 7, 5, reject=True, hint=2),
            "append response",
            "refuses what follows 5, try 2",
        ),
        (Message(MessageKind.VOTE, 2, 1, 8, 5, 7), "vote", "last entry 5 of term 7"),
        (Message(MessageKind.VOTE_RESPONSE, 1, 2, 8, reject=True), "vote response", "no"),
    ],
)
def test_messages_of_raft_are_told_with_range_term_and_what_they_say_of_the_log(message, kind, text):
    assert told((3, message)) == [Words(kind, text, 3, message.term)]


def test_requests_and_replies_are_told_with_their_keys_and_belong_together():
    request = RangeRequest(9, 3, 1, (Get(b"k3"), Put(b"k4", b"v")))
    assert told(messages=(request,)) == [Words("request", "#9 Get k3, Put k4", 3, request_id=9)]
    reply = RangeReply(9, (ValueResult(b"v"),))
    assert told(messages=(reply,)) == [Words("reply", "#9 ValueResult v", request_id=9)]
    refusal = RangeReply(9, error=NotLeader(3, "n2"))
    assert told(messages=(refusal,)) == [Words("refusal", "#9 NotLeader: n2 leads", 3, request_id=9)]


def test_heartbeats_of_many_ranges_are_one_message():
    assert told(heartbeats=Heartbeats(beats=(1, 5, 9, 0))) == [Words("heartbeat", "", 1, 5)]
    (many,) = told(heartbeats=Heartbeats(answers=(1, 5, 0, 2, 6, 0)))
    assert many == Words("heartbeat response", "of ranges 1 (term 5), 2 (term 6)")


def test_clients_are_told_too_and_bytes_that_are_no_whole_frames_are_refused():
    asked = [
        encode_frame(ClientRequest(1, ClientPut(b"k", b"v"))),
        encode_frame(ClientRequest(2, ClientGet(b"\xff\x00"))),
    ]
    assert [one.text for one in wire_words.of_client(b"".join(asked))] == ["#1 Put k", "#2 Get ff00"]
    replies = [encode_frame(ClientReply(1)), encode_frame(ClientReply(2, error=Unavailable("nobody leads")))]
    assert [(one.kind, one.text) for one in wire_words.to_client(b"".join(replies))] == [
        ("reply", "#1 done"),
        ("refusal", "#2 Unavailable: nobody leads"),
    ]
    with pytest.raises(ValueError, match="no whole frame"):
        wire_words.of_client(asked[0][:-1])
    with pytest.raises(ValueError, match=r"frame|Expected"):
        wire_words.between_nodes(asked[0])
