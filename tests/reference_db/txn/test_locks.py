"""The lock table against a plain dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_db.api import Transaction
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.locks import Intent, LockTable

OWNER = Transaction(b"o" * 16, b"a", ZERO, ZERO)
user_keys = st.binary(max_size=2)


@given(st.lists(st.tuples(user_keys, st.booleans()), max_size=20), user_keys, st.none() | user_keys)
def test_puts_removals_and_spans(script: list[tuple[bytes, bool]], start: bytes, end: bytes | None) -> None:
    table, model = LockTable(), dict[bytes, Intent]()
    for at, (key, is_put) in enumerate(script):
        if is_put:
            model[key] = Intent(OWNER, Timestamp(at), b"v")
            table.put(key, model[key])
        else:
            model.pop(key, None)
            table.remove(key)
    assert len(table) == len(model)
    assert list(table.items()) == sorted(model.items(), key=lambda item: item[0])
    inside = [key for key in sorted(model) if start <= key and (end is None or key < end)]
    assert [key for key, _ in table.in_span(start, end)] == inside
    assert all(table.get(key) == model.get(key) for key in [start, *model])
    again = LockTable(model.items())
    assert list(again.items()) == list(table.items())


def test_a_table_may_change_while_its_span_is_walked() -> None:
    table = LockTable((bytes([i]), Intent(OWNER, ZERO, None)) for i in range(5))
    for key, _ in table.in_span(b"\x01", b"\x04"):
        table.remove(key)
    assert [key for key, _ in table.items()] == [b"\x00", b"\x04"]
