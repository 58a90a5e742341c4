"""Of very many messages a page has those around what went wrong, and says that there are more."""

from results.messages import Message, MessageLog
from results.report import messages, write_report
from results.report.messages import message_data
from tests.results.report import samples
from tests.results.report.unpack import page_json, unpack_integers, unpack_texts


def beat(at_ms, source="n1", target="n2", took_ms=1):
    arrived = None if took_ms is None else (at_ms + took_ms) * 1_000_000
    return Message(at_ms * 1_000_000, source, target, "append", arrived, "1", 2, f"entry {at_ms}")


def sent_ms(data):
    return [time // 1000 for time in unpack_integers(data["sent"])]


def test_nothing_is_shown_where_nothing_is_known():
    assert message_data(None, []) is None
    assert message_data(MessageLog(0, []), []) is None


def test_the_nearest_to_an_anomaly_are_shown_else_the_last(monkeypatch):
    monkeypatch.setattr(messages, "MOST_MESSAGES", 5)
    log = MessageLog(500, [beat(at) for at in range(100)])
    assert sent_ms(message_data(log, [])) == [95, 96, 97, 98, 99]
    around = message_data(log, [(40_000_000, 42_000_000)])
    assert sent_ms(around) == [39, 40, 41, 42, 43]
    assert (around["n"], around["kept"], around["recorded"]) == (5, 100, 500)
    assert sent_ms(message_data(log, [(10_000_000, 10_000_000), (90_000_000, 91_000_000)])) == [
        9,
        10,
        11,
        90,
        91,
    ]


def test_each_message_has_its_hosts_words_and_how_long_it_took():
    log = MessageLog(3, [beat(1, "client", "n10"), beat(2, "n10", "n2", None), beat(3, "n2", "n10", 7)])
    data = message_data(log, [])
    assert data["hosts"] == ["client", "n2", "n10"]
    assert unpack_integers(data["source"]) == [0, 2, 1]
    assert unpack_integers(data["took"]) == [1000, -1, 7000]
    assert unpack_texts(data["text"]) == ["entry 1", "entry 2", "entry 3"]


def test_a_broken_file_of_messages_is_told_and_the_rest_is_shown(tmp_path):
    folder = samples.unknown_register(tmp_path)
    folder.messages_path.write_bytes(b"oh no")
    page = write_report(folder).read_text()
    assert "the messages cannot be read" in page
    assert page_json(page)["messages"] is None
