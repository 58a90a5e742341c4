"""One seed makes one run: streams by name, independent of each other, of the order of asking and of the platform."""

import os
import subprocess
import sys

import pytest

from harness.marks import Marks
from harness.seeds import Seeds


def test_a_stream_depends_on_seed_and_name_alone():
    assert Seeds(7).stream("a").random() == Seeds(7).stream("a").random()
    assert Seeds(7).stream("a").random() != Seeds(7).stream("b").random()
    assert Seeds(7).stream("a").random() != Seeds(8).stream("a").random()
    seeds = Seeds(7)
    seeds.stream("b").random()
    assert seeds.stream("a").random() == Seeds(7).stream("a").random()
    assert seeds.child("a").stream("x").random() != seeds.stream("x").random()


def test_the_numbers_are_these_for_ever():
    """A saved seed must mean the same run in later versions."""
    assert Seeds(1).number("nemesis") == 168913748550091055886104267788279451875
    assert Seeds(1).stream("nemesis").randrange(10**6) == 685757


def test_hash_randomisation_does_not_matter():
    program = "from harness.seeds import Seeds; print(Seeds(3).number('x'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert outputs == {f"{Seeds(3).number('x')}\n"}


@pytest.mark.parametrize("root", [-1, 1.5, "7", True, None])
def test_a_seed_is_a_whole_number(root):
    with pytest.raises(ValueError, match="whole number"):
        Seeds(root)


def test_marks_count_and_say_what_is_missing():
    marks = Marks()
    marks.reached("a")
    marks.reached("a", 2)
    assert marks.sometimes("b", False) is False
    assert marks.sometimes("c", True) is True
    assert marks.counts() == {"a": 3, "b": 0, "c": 1}
    assert marks.missing(["a", "b", "d"]) == ["b", "d"]
    assert marks.merge(Marks({"b": 2})).missing(["b"]) == []
    assert marks.count("b") == 0, "merging leaves both as they were"
