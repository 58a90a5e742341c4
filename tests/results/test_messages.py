"""The file of a run's messages: what was written is read, and what is broken is said."""

import gzip

import pytest

from results.messages import Message, MessageLog, MessagesError, decode_messages, encode_messages
from results.run_folder import RunFolder

MESSAGES = [
    Message(1_000, "client", "n1", "request", 2_000, "3", text="#1 Put k"),
    Message(1_500, "n1", "n2", "append", None, "3", 7, "entry 4"),
]


def test_messages_are_read_as_they_were_written(tmp_path):
    assert decode_messages(encode_messages(9, MESSAGES)) == MessageLog(9, MESSAGES)
    folder = RunFolder(tmp_path)
    assert folder.read_messages() is None
    folder.write_messages(2, MESSAGES)
    assert folder.read_messages() == MessageLog(2, MESSAGES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzipped",
        encode_messages(9, MESSAGES)[:-12],
        gzip.compress(b'{"recorded":9,"kept":2}\n{"sent_ns":1}\n'),
        gzip.compress(b'{"recorded":9,"kept":3}\n'),
    ],
    ids=["empty", "plain", "torn", "half a message", "too few messages"],
)
def test_a_broken_file_is_an_error_with_a_reason(content):
    with pytest.raises(MessagesError, match=r"cannot be read|says that it keeps 3"):
        decode_messages(content)
