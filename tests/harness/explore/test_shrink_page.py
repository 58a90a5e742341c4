"""What shrinking leaves behind: a whole run folder, and a page that shows before and after and trusts no words."""

import html.parser
import json
import shutil

import msgspec
import pytest

from harness.explore.reductions import Target
from harness.explore.saved_run import load_run
from harness.explore.shrink import Budget, Confirm, Shrinking
from harness.explore.shrink_page import _what_is_counted
from harness.explore.shrunk import keep_shrunk
from results.history import HistoryBuilder
from results.operation import FINAL_PHASE
from results.run_folder import RunFolder
from tests.harness.explore.made_up_runs import SECOND, MadeUpRuns, Watching, case, write_run
from workloads.generator.recorded import RecordedOperation, load_operations

HOSTILE = "</td><script>alert('x')</script>\u202e"


class Page(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def shrunk(tmp_path):
    """A run whose clients wrote what nobody should believe, shrunk to a step and two of its operations."""
    start = case()
    hostile = (
        RecordedOperation(0, 5 * SECOND, "write", [0, HOSTILE]),
        RecordedOperation(1, 6 * SECOND, "read", [0, None]),
    )
    start = msgspec.structs.replace(start, operations=(*hostile, *start.operations))
    saved_folder = RunFolder(tmp_path / "before")
    saved_folder.path.mkdir()
    write_run(saved_folder, start, True, (0, 1))

    def rule(of):
        write = next((at for at, one in enumerate(of.operations) if one.value == [0, HOSTILE]), None)
        read = next((at for at, one in enumerate(of.operations) if one.value == [0, None]), None)
        broken = any(step.fault == "kill" for step in of.steps)
        return (write, read) if broken and None not in (write, read) else None

    (tmp_path / "scratch").mkdir()
    shrinking = Shrinking(
        [start],
        Target("linearizability", "stale read"),
        MadeUpRuns(tmp_path / "scratch", rule),
        Watching(),
        confirm=Confirm(1, 1),
        budget=Budget(),
    )
    shrinking.run()
    folder = keep_shrunk(load_run(saved_folder), shrinking, "<nothing> smaller", tmp_path / "runs")
    shutil.rmtree(tmp_path / "scratch")
    return saved_folder, folder


def test_the_small_run_is_a_run_folder_like_any_other(shrunk):
    _, folder = shrunk
    saved = load_run(folder)
    assert saved.scenario.schedule_file == str(folder.schedule_path)
    assert saved.scenario.operations_file == str(folder.operations_path)
    assert len(saved.steps) == 1
    assert saved.operations == load_operations(folder.operations_path)
    assert len(saved.operations) == 2
    assert saved.verdict.outcome == "invalid"
    assert len(folder.read_history().pairs()) == 2
    assert folder.report_path.exists()
    assert str(folder.schedule_path) in folder.read_environment()["command"]
    assert RunFolder.open("latest", root=folder.path.parent).id == folder.id


def test_how_it_came_about_is_kept_for_programs(shrunk):
    before, folder = shrunk
    record = json.loads(folder.shrink_path.read_text())
    assert (record["checker"], record["type"]) == ("linearizability", "stale read")
    assert record["before"]["run"] == before.id
    assert record["before"]["size"]["operations"] == 62
    assert record["after"]["size"]["operations"] == 2
    assert record["after"]["size"]["steps"] == 1
    assert record["after"]["commands"][1] == f"./run replay {folder.path}"
    assert record["gains"][-1]["size"] == record["after"]["size"]


def test_the_page_shows_before_and_after(shrunk):
    before, folder = shrunk
    page = Page(folder.shrink_page_path.read_text())
    for said in (
        "linearizability: stale read",
        before.id,
        folder.id,
        f"./run replay {folder.path}",
        f"./run replay {before.path}",
        "fault steps 4 1",
        "operations 62 2",
        "kill@",
        "process 1 read <what> was over",
    ):
        assert said in page.text


def test_the_page_says_when_a_fault_was_there_and_not_only_what_was_planned(shrunk):
    _, folder = shrunk
    (interval,) = folder.read_history().fault_intervals()
    page = Page(folder.shrink_page_path.read_text())
    assert "step fault, as planned hit begins, s healed, s" in page.text
    assert f"n2 {interval.start_ns / 1e9:.3f}" in page.text


def test_last_reads_are_not_counted_and_the_page_says_so():
    book = HistoryBuilder()
    book.invoke(0, "write", [1, 2])
    book.ok(0, [1, 2])
    assert _what_is_counted(book.done()) == ""
    for process in (0, 1):
        book.invoke(process, "read", [1, None], phase=FINAL_PHASE)
        book.ok(process, [1, 2])
    assert "2 last reads" in _what_is_counted(book.done())


def test_the_page_stands_alone_and_shows_hostile_text_as_text(shrunk):
    _, folder = shrunk
    text = folder.shrink_page_path.read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "\u202e" not in text
    assert "<script>alert" in page.text
    assert "<nothing> smaller" in page.text
    assert page.links == ["./report.html"]
    assert "default-src 'none'" in text
