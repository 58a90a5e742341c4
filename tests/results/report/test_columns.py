"""Columns come back from a page as they went in, whatever is in them, and take little room."""

import json
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from results.report.columns import (
    ANSWER,
    CUT,
    MAX_COLUMNS,
    MAX_SLOTS,
    VALUE_LIMIT,
    pack_integers,
    pack_texts,
    short_value,
)
from tests.results.report.unpack import unpack_integers, unpack_texts

# Differences between any two of these stay within what 52 bits and a sign hold.
integers = st.integers(-(2**51) + 1, 2**51 - 1)


@given(st.lists(integers), st.booleans())
def test_integers_come_back(values, delta):
    assert unpack_integers(pack_integers(values, delta=delta)) == values


def test_an_empty_column_and_a_column_of_zeros():
    assert unpack_integers(pack_integers([])) == []
    packed = pack_integers(np.zeros(100_000, np.int64))
    assert len(packed["bytes"]) < 300
    assert unpack_integers(packed) == [0] * 100_000


numberish = st.text(st.sampled_from('0123456789-.e[]{}," abé\x7f\u2028'), max_size=30)


@given(st.lists(numberish))
def test_texts_come_back_also_with_numbers_that_only_look_like_numbers(texts):
    # Forty times, so that templates are kept and not put among the rare ones.
    assert unpack_texts(pack_texts(texts * 40)) == texts * 40
    assert unpack_texts(pack_texts(texts)) == texts


def test_numbers_that_would_come_back_otherwise_stay_text():
    texts = ["007", "1.50", "12345678901234567890", "-3", "1e9", "0", "", "x" * 1000]
    assert unpack_texts(pack_texts(texts * 20)) == texts * 20


def test_texts_with_very_many_numbers_or_very_many_templates_are_kept_whole():
    long = [json.dumps(list(range(number, number + MAX_SLOTS + 5))) for number in range(50)]
    many = [f"[{letters}]" for letters in (chr(97 + i % 26) * (1 + i // 26) for i in range(6000))]
    assert unpack_texts(pack_texts(long + many)) == long + many


def test_transactions_of_every_shape_take_few_columns():
    """Lists of every length between appends: each template costs a browser as many columns as it has numbers."""
    stream = random.Random(4)
    texts = []
    for number in range(20_000):
        parts = [
            json.dumps(["r", number % 9, list(range(stream.randrange(20)))])
            if stream.random() < 0.5
            else json.dumps(["append", number % 9, number])
            for _ in range(stream.randrange(1, 4))
        ]
        texts.append(f"[{','.join(parts)}]")
    packed = pack_texts(texts)
    assert unpack_texts(packed) == texts
    assert 0 < sum(len(slots) for _, slots in packed["templates"]) <= MAX_COLUMNS
    assert len(packed["blocks"]) > 1


def test_long_values_show_both_ends_and_their_length():
    text = short_value(list(range(10_000)))
    head, length, tail = text.split(CUT)
    assert head.startswith("[0,1,2,")
    assert tail.endswith("9998,9999]")
    assert int(length) == len(json.dumps(list(range(10_000)), separators=(",", ":")))
    assert len(text) < VALUE_LIMIT
    assert short_value({"a": [1, None, "x"]}) == '{"a":[1,null,"x"]}'


def test_values_that_json_cannot_carry_become_text():
    assert "udc80" in short_value("\udc80 lone surrogate")
    assert "object" in short_value(object())


def test_a_million_register_operations_would_stay_below_ten_megabytes():
    """A tenth of a million, drawn as a run would: open loop, ten processes, ten keys, unique values."""
    stream = random.Random(3)
    count = 100_000
    clock, counter, values, starts = 0, 0, [], []
    for _ in range(count):
        clock += int(stream.expovariate(1 / 100))
        starts.append(clock)
        key = stream.randrange(10)
        if stream.random() < 0.5:
            values.append(f"[{key},null]{ANSWER}[{key},{max(0, counter - stream.randrange(30))}]")
        else:
            counter += 1
            values.append(f"[{key},{counter}]")
    columns = [
        pack_integers(starts, delta=True),
        pack_integers([int(stream.lognormvariate(7, 0.6)) for _ in range(count)]),
        pack_integers([int(stream.expovariate(1 / 150)) for _ in range(count)]),
        pack_integers([stream.randrange(10) for _ in range(count)]),
        pack_integers([stream.choice([0, 0, 0, 4, 4, 6]) for _ in range(count)]),
        pack_integers(np.cumsum([stream.randrange(1, 4) for _ in range(count)]), delta=True),
        pack_texts(values),
        pack_texts([""] * count),
    ]
    size = len(json.dumps(columns))
    print(f"{size / count:.2f} bytes an operation")
    assert size <= 10 * count
