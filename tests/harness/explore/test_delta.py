"""The search for the few things that matter: it finds exactly them, says nothing that it did not try, and is quick."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.explore.delta import ddmin, drive, first_of, mapped, smallest


class Trying:
    """Answers which proposal holds first, and remembers what was tried."""

    def __init__(self, holds):
        self.holds = holds
        self.tried = []
        self.batches = 0

    def __call__(self, proposals):
        self.batches += 1
        for position, proposal in enumerate(proposals):
            self.tried.append(proposal)
            if self.holds(proposal):
                return position
        return None


def needs(*wanted):
    """Holds where all of these are there."""
    return lambda items: set(wanted) <= set(items)


def test_the_two_that_matter_are_found_among_many():
    trying = Trying(needs(3, 700))
    assert drive(ddmin(range(1000)), trying) == (3, 700)
    assert len(trying.tried) < 100


def test_nothing_is_tried_first_because_nothing_may_be_needed():
    trying = Trying(lambda items: True)
    assert drive(ddmin(range(1000)), trying) == ()
    assert trying.tried == [()]


def test_of_nothing_nothing_is_left_and_nothing_is_tried():
    trying = Trying(lambda items: True)
    assert drive(ddmin(()), trying) == ()
    assert not trying.tried


def test_what_is_needed_whole_stays_whole():
    everything = tuple(range(9))
    trying = Trying(lambda items: items == everything)
    assert drive(ddmin(everything), trying) == everything


@given(st.integers(1, 40), st.data())
def test_exactly_the_needed_ones_are_left(count, data):
    wanted = data.draw(st.sets(st.integers(0, count - 1)))
    trying = Trying(needs(*wanted))
    assert drive(ddmin(range(count)), trying) == tuple(sorted(wanted))


@given(st.integers(1, 14), st.randoms(use_true_random=False))
def test_whatever_holds_the_result_holds_and_loses_no_single_one(count, random):
    """Any predicate at all, also one that is not monotone: 1-minimal, and true of everything to begin with."""
    everything = tuple(range(count))
    truth = {everything: True}

    def holds(items):
        return truth.setdefault(items, random.random() < 0.3)

    found = drive(ddmin(everything), Trying(holds))
    assert holds(found)
    if len(found) > 1:
        assert not any(holds(found[:at] + found[at + 1 :]) for at in range(len(found)))


@given(st.integers(1, 30), st.data())
def test_any_order_of_trying_gives_the_same_as_long_as_the_first_in_order_is_answered(count, data):
    wanted = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    holds = needs(*wanted)

    def all_at_once(proposals):
        answers = [holds(one) for one in reversed(proposals)][::-1]
        return answers.index(True) if any(answers) else None

    assert drive(ddmin(range(count)), all_at_once) == drive(ddmin(range(count)), Trying(holds))


def test_no_proposal_is_the_whole_again():
    """What is proposed is always less than what is there."""
    everything = tuple(range(7))
    trying = Trying(lambda items: False)
    assert drive(ddmin(everything), trying) == everything
    assert everything not in trying.tried


@pytest.mark.parametrize("needed", range(0, 101, 7))
def test_the_smallest_number_is_found_to_its_tolerance(needed):
    trying = Trying(lambda value: value >= needed)
    found = drive(smallest(100, 0, 3), trying)
    assert needed <= found <= max(0, needed + 3)
    assert trying.batches <= 6


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**9))
def test_the_number_found_holds_whatever_holds(value, needed, tolerance):
    needed = min(needed, value)
    found = drive(smallest(value, 0, tolerance), Trying(lambda one: one >= needed))
    assert needed <= found <= value
    assert found - needed <= tolerance


def test_a_number_that_is_small_enough_is_left_alone():
    assert drive(smallest(5, 5), Trying(lambda value: True)) == 5
    with pytest.raises(ValueError, match="tolerance 0"):
        drive(smallest(5, 1, 0), Trying(lambda value: True))


def test_the_first_that_holds_is_taken():
    assert drive(first_of("a", ["b", "c", "d"]), Trying(lambda one: one in "cd")) == "c"
    assert drive(first_of("a", ["b"]), Trying(lambda one: False)) == "a"
    assert drive(first_of("a", []), Trying(lambda one: True)) == "a"


def test_a_search_over_what_is_built_is_the_same_search():
    trying = Trying(lambda text: set("be") <= set(text))
    assert drive(mapped(ddmin("abcdef"), "".join), trying) == "be"
    assert all(isinstance(one, str) for one in trying.tried)
    assert len(set(trying.tried)) < sum(len(list(itertools.combinations("abcdef", n))) for n in range(7))
