"""When leadership goes back to the preferred replica."""

from dataclasses import replace

from reference_db.placement.leaders import LAG_ENTRIES_MOST, SETTLED_TICKS, choose_handovers
from reference_db.ranges.led import Led

READY = Led(
    range_id=4,
    preferred_is_me=False,
    preferred_is_active=True,
    preferred_lag_entries=0,
    led_for_ticks=SETTLED_TICKS,
)


def test_a_healthy_preferred_replica_gets_its_range_back() -> None:
    assert choose_handovers([READY]) == [4]


def test_the_lowest_range_goes_first() -> None:
    both = [READY, replace(READY, range_id=2)]
    assert choose_handovers(both) == [2]
    assert choose_handovers(both, most=2) == [2, 4]
    assert choose_handovers(both, most=-1) == []


def test_nothing_is_handed_over_that_should_stay() -> None:
    assert choose_handovers([]) == []
    assert choose_handovers([replace(READY, preferred_is_me=True)]) == []
    assert choose_handovers([replace(READY, preferred_is_active=False)]) == []
    assert choose_handovers([replace(READY, preferred_lag_entries=LAG_ENTRIES_MOST + 1)]) == []
    assert choose_handovers([replace(READY, led_for_ticks=SETTLED_TICKS - 1)]) == []
