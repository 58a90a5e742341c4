"""Whatever a run wrote is shown as text: no markup, nothing invisible, no link that leads elsewhere."""

import json
import os
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from results.report.escape import html_text, relative_link, script_json, shortened, value_text, visible

nasty = st.text(st.characters() | st.sampled_from("<>&'\"\u2028\u202e\x00\ud800/!-"))


class Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@given(nasty)
def test_text_never_becomes_a_tag_and_reads_the_same(text):
    collector = Collector()
    collector.feed(f"<p>{html_text(text)}</p>")
    collector.close()
    assert collector.tags == ["p"]
    assert collector.text == visible(text)


@given(nasty)
def test_json_in_a_script_cannot_end_the_script_and_comes_back(text):
    data = script_json({"text": text, text: [text]})
    assert not set("<>&") & set(data)
    assert data.isascii()
    assert json.loads(data) == {"text": text, text: [text]}


def test_invisible_characters_are_written_out():
    assert visible("a\u202eb\u2028\x00\x1b[31m\ufeff\ud800") == r"a\u202eb\u2028\u0000\u001b[31m\ufeff\ud800"
    assert visible("\U000e0041") == r"\u{e0041}"
    assert visible("tab\tline\nü 中 🙂") == "tab\tline\nü 中 🙂"


@given(st.binary().map(os.fsdecode) | st.text(st.characters(exclude_categories=["Cs"])))
def test_a_link_stays_in_the_folder(name):
    link = relative_link("nodes", name)
    assert link.startswith("./nodes/")
    assert link.count("/") == 2
    assert not set(link[2:]) & set(":<>&'\" \\")


def test_long_text_is_shortened_in_the_middle_and_says_by_how_much():
    assert shortened("x" * 300) == "x" * 300
    assert "9,738 characters left out" in shortened("a" * 5000 + "b" * 5000)
    assert len(value_text({"list": "y" * 10_000_000}, 200)) < 300
