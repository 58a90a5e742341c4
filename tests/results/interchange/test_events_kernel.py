"""Values of EDN and JSON: what they become, and that compiled and interpreted kernel say the same of any text."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import kernels
from results.interchange import events_kernel
from results.interchange.places import FormatError
from results.operation import Operation, decode_lines, encode_lines

INTERPRETED = kernels.load_interpreted(events_kernel)
FORMS = (events_kernel, INTERPRETED)


def edn(text: str | bytes, kernel=events_kernel) -> list:
    return kernel.Reader(text.encode() if isinstance(text, str) else text, False).values()


@pytest.mark.parametrize("kernel", FORMS, ids=["compiled", "interpreted"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("true", True),
        ("nilly", "nilly"),
        (":ok", "ok"),
        (":a/b", "a/b"),
        ("some.symbol/x", "some.symbol/x"),
        ("-", "-"),
        ("+x", "+x"),
        ("-0", 0),
        ("-17", -17),
        ("+17", 17),
        ("123456789012345678", 123456789012345678),
        ("-123456789012345678901234567890N", -123456789012345678901234567890),
        ("7N", 7),
        ("0x1F", 31),
        ("017", 15),
        ("2r101", 5),
        ("4/2", 2),
        ("-2/6", "-1/3"),
        ("3.5", 3.5),
        ("-1e3", -1000.0),
        ("0.5M", 0.5),
        ("0.10000000000000000001M", "0.10000000000000000001"),
        ("##Inf", math.inf),
        ("##-Inf", -math.inf),
        ('"a\\"b\\n\\t\\\\ \\u00e4 \\101"', 'a"b\n\t\\ ä A'),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud83d"', "\ufffdd83d"),
        ('"\\ude00\\ud83d\\ude00"', "\ufffdde00😀"),
        ("\\a", "a"),
        ("\\newline", "\n"),
        ("\\u0041", "A"),
        ("\\o101", "A"),
        ("\\(", "("),
        ("[1 -2, [], ()]", [1, -2, [], []]),
        ("#{1 2}", [1, 2]),
        ("#{2 1}", [1, 2]),
        ('#{"b" :a}', ["a", "b"]),
        (
            "#{#{2 1} [3] nil {:b 1 :a 2} 1.5 true 1 :a ##Inf}",
            [None, True, 1, 1.5, math.inf, "a", [1, 2], [3], {"a": 2, "b": 1}],
        ),
        ("{:a 1 [1 2] {}}", {"a": 1, (1, 2): {}}),
        ("{{:a [1]} 2}", {(("a", (1,)),): 2}),
        ('#inst "2026"', "2026"),
        ("#jepsen.history.Op{:a 1}", {"a": 1}),
        ("#:ns{:a 1}", {"a": 1}),
        ('#"a\\"b"', 'a\\"b'),
        ("[1 #_2 #_ #_ 3 4 5]", [1, 5]),
        ("[1 ; gone ]\n 2]", [1, 2]),
        ("[^:m 1 ^{:a 2} [3]]", [1, [3]]),
    ],
)
def test_edn_values(kernel, text, value):
    (read,) = edn(text, kernel)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("kernel", FORMS, ids=["compiled", "interpreted"])
@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("#{1 2 3}", "#{3 1 2}", "#{1 2}"),
        ("#{:a 1 nil}", "#{nil 1 :a}", "#{:a 1 true}"),
        ("[#{1 #{:x :y}} {:k #{2 1}}]", "[#{#{:y :x} 1} {:k #{1 2}}]", "[#{1 #{:x :z}} {:k #{1 2}}]"),
        ("{#{1 2} 3}", "{#{2 1} 3}", "{#{1 3} 3}"),
        ("{{:a 1 :b 2} 3}", "{{:b 2 :a 1} 3}", "{{:a 2 :b 1} 3}"),
        ("#{{:a 1 :b 2} {:a 2}}", "#{{:a 2} {:b 2 :a 1}}", "#{{:a 2} {:b 1 :a 1}}"),
    ],
)
def test_the_order_in_which_sets_and_maps_are_printed_means_nothing(kernel, one, same, other):
    assert edn(one, kernel) == edn(same, kernel)
    assert edn(one, kernel) != edn(other, kernel)


def test_not_a_number_is_a_float():
    assert math.isnan(edn("##NaN")[0])


@pytest.mark.parametrize("kernel", FORMS, ids=["compiled", "interpreted"])
@pytest.mark.parametrize(
    "text",
    [
        "[1 2", "[1 2)", "{:a}", "#_", "]", ":", "#", "#foo", "\\", "\\nothing", '"\\q"', '"\\', "1a", "08", "1/0",
        "##nan", "^", "^:a", '#"', "9" * 5000, "{:a 1 :a 2}", "(" * 300, "^" * 300, "#a " * 300, b"\xff",
        b'"\xc3"', b":\xc3",
    ],
)  # fmt: skip
def test_what_is_not_edn_is_refused(kernel, text):
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(FormatError) as caught:
        edn(data, kernel)
    assert 0 <= caught.value.offset <= len(data)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def as_edn(value: object) -> str:
    """A plain value in EDN; the other way round than the reader goes."""
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return {math.inf: "##Inf", -math.inf: "##-Inf"}.get(value) or repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_edn(key)} {as_edn(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(map(as_edn, value)) + "]"
    return str(value)


@given(PLAIN)
def test_a_value_written_as_edn_is_read_back(value):
    assert edn(as_edn(value)) == [value]
    assert edn(as_edn(value), INTERPRETED) == [value]


@given(PLAIN, st.booleans(), st.sampled_from([None, 1]))
def test_a_value_written_as_json_is_read_back(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    for kernel in FORMS:
        assert kernel.Reader(text, True).values() == [value]


def outcome(kernel, data: bytes, is_json: bool, as_events: bool) -> object:
    """What a kernel makes of any bytes: values, or where it gave up and why."""
    reader = kernel.Reader(data, is_json)
    into: list = []
    try:
        if as_events:
            reader.events(into)
        else:
            into = reader.values()
    except FormatError as error:
        return repr(into), error.reason, error.offset
    return repr(into), reader.indexed, reader.timed


PIECES = st.sampled_from(
    [
        *'[](){}#^:"\\;,|',
        "#{",
        "#_",
        "nil",
        "null",
        "true",
        ":process",
        ":type",
        ":ok",
        ":f",
        ":value",
        "::",
        "\\a",
        '"process"',
        '"type"',
        '"ok"',
        "x",
        '"x"',
        "##NaN",
        "NaN",
        "#tag",
        "-Infinity",
        "key",
        '"key"',
        "\n",
        ":index",
        *[
            "0",
            "1",
            "-1",
            "+1",
            "1.5",
            "1e9",
            "1/2",
            "7N",
            "0x1",
            '"\\n"',
            '"\\u0041"',
            "{:process 1 :type :ok}",
        ],
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map(" ".join) | st.text(max_size=30)


@given(TEXTS, st.booleans(), st.booleans())
def test_both_forms_of_the_kernel_say_the_same_of_any_text(text, is_json, as_events):
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(events_kernel, data, is_json, as_events) == outcome(INTERPRETED, data, is_json, as_events)


OWN = st.builds(
    Operation,
    st.integers(0, 9),
    st.integers(0, 10**12),
    st.integers(0, 5) | st.sampled_from(["nemesis", "7"]),
    st.sampled_from(["invoke", "ok", "fail", "info"]),
    st.text(max_size=4),
    PLAIN,
    st.none() | st.text(max_size=4),
    st.none() | st.integers(0, 99),
    st.none() | st.text(max_size=3),
    st.none() | st.just("final"),
    st.none() | st.integers(-1, 10**20),
)


@given(st.lists(OWN, max_size=5))
def test_our_own_lines_are_read_as_msgspec_reads_them(operations):
    text = encode_lines(operations)
    for kernel in FORMS:
        into: list = []
        kernel.Reader(text, True).own_lines(into)
        assert into == decode_lines(text)


@pytest.mark.parametrize(
    "line",
    [
        '{"index":0,"time":0,"process":0,"type":"ok"}',
        '{"index":0,"time":0.5,"process":0,"type":"ok","f":"x"}',
        '{"index":0,"time":0,"process":null,"type":"ok","f":"x"}',
        '{"index":0,"time":0,"process":0,"type":"maybe","f":"x"}',
        '{"index":0,"time":0,"process":0,"type":"ok","f":"x","key":1}',
        '{"index":0,"time":0,"process":0,"type":"ok","f":"x","node":1}',
        '{"index":0,"time":0,"process":0,"type":"ok","f":"x","committed_at":"7"}',
        '[{"index":0,"time":0,"process":0,"type":"ok","f":"x"}]',
        '{"index":true,"time":0,"process":0,"type":"ok","f":"x"}',
    ],
)
def test_what_may_not_be_ours_is_left_to_msgspec(line):
    for kernel in FORMS:
        with pytest.raises(FormatError):
            kernel.Reader(line.encode(), True).own_lines([])
