"""Which leaders go where: as many on each node as the replica sets allow, the hottest apart, wishes first."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from reference_db.placement.balance import LedRange, Transfer, Wishes, choose_transfers, find_hot

ANYWHERE = Wishes({})
ZONED = {"n1": "eu", "n2": "us", "n3": "asia"}


def led(range_id: int, leader: str, candidates: str, **more: object) -> LedRange:
    return LedRange(range_id, leader, frozenset(candidates.split()), **more)  # type: ignore[arg-type]


def after(ranges: list[LedRange], transfers: list[Transfer]) -> dict[int, str]:
    """Who leads each range then; every transfer is one that can be carried out."""
    leaders = {one.id: one.leader for one in ranges}
    for range_id, source, target in transfers:
        assert leaders[range_id] == source
        assert target in next(one.candidates for one in ranges if one.id == range_id)
        leaders[range_id] = target
    return leaders


def test_the_surplus_of_a_node_and_nothing_else_is_handed_over() -> None:
    """Six ranges on n1 and n2 after n3 was down: two go back, and both nodes keep two."""
    ranges = [led(number, "n1" if number < 4 else "n2", "n1 n2 n3") for number in range(1, 7)]
    transfers = choose_transfers(ranges, ANYWHERE)
    assert len(transfers) == 2
    assert Counter(after(ranges, transfers).values()) == {"n1": 2, "n2": 2, "n3": 2}
    assert (
        choose_transfers(
            [led(one, node, "n1 n2 n3") for one, node in after(ranges, transfers).items()], ANYWHERE
        )
        == []
    )


def test_a_leader_goes_by_way_of_another_node_where_there_is_no_direct_way() -> None:
    """n3 has no replica of what n1 leads; n2 has one of everything."""
    ranges = [led(1, "n1", "n1 n2"), led(4, "n1", "n1 n2"), led(2, "n2", "n2 n3")]
    assert choose_transfers(ranges, ANYWHERE) == [Transfer(1, "n1", "n2"), Transfer(2, "n2", "n3")]


def test_what_is_fixed_counts_and_stays() -> None:
    ranges = [
        led(1, "n1", "n1 n2", is_fixed=True),
        led(2, "n1", "n1 n2", is_fixed=True),
        led(3, "n2", "n1 n2"),
    ]
    assert choose_transfers(ranges, ANYWHERE) == []
    assert choose_transfers([*ranges, led(4, "n1", "n1 n2")], ANYWHERE) == [Transfer(4, "n1", "n2")]


def test_a_node_that_may_not_lead_gives_everything_away() -> None:
    ranges = [led(number, "n1", "n2 n3") for number in range(1, 5)]
    assert Counter(after(ranges, choose_transfers(ranges, ANYWHERE)).values()) == {"n2": 2, "n3": 2}


def test_who_has_nobody_to_hand_over_to_goes_on_leading() -> None:
    assert choose_transfers([led(1, "n1", "")], ANYWHERE) == []


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_as_even_as_an_exhaustive_search_finds_them(seed: int) -> None:
    rng = random.Random(seed)
    nodes = ["n1", "n2", "n3", "n4", "n5"]
    ranges = []
    for number in range(1, 8):
        candidates = sorted(rng.sample(nodes, rng.randint(1, 3)))
        ranges.append(led(number, rng.choice(candidates), " ".join(candidates)))
    found = after(ranges, choose_transfers(ranges, ANYWHERE))

    def unevenness(leaders: list[str]) -> int:
        return sum(count**2 for count in Counter(leaders).values())

    best = [[]]  # type: list[list[str]]
    for one in ranges:
        best = [[*some, node] for some in best for node in sorted(one.candidates)]
    assert unevenness(list(found.values())) == min(map(unevenness, best))


def test_a_range_is_hot_if_it_is_asked_for_far_more_than_others_and_cools_late() -> None:
    def asked(*rates: float) -> list[LedRange]:
        return [led(number, "n1", "n1 n2", per_s=rate) for number, rate in enumerate(rates, 1)]

    assert find_hot(asked(100, 100, 100, 100)) == set()
    assert find_hot(asked(300, 0, 0, 100)) == {1}
    assert find_hot(asked(10, 0, 0, 0)) == set(), "nobody is hot with so few requests"
    assert find_hot(asked(160, 80, 80, 80)) == set()
    assert find_hot(asked(160, 80, 80, 80), were_hot=[1]) == {1}
    assert find_hot([]) == set()


def test_hot_ranges_are_led_apart_and_no_node_leads_more_than_its_share() -> None:
    """n1 leads both hot ranges; it gives one away and gets a cold one for it."""
    ranges = [led(number, "n1" if number <= 3 else "n2", "n1 n2") for number in range(1, 7)]
    found = after(ranges, choose_transfers(ranges, ANYWHERE, hot={1, 2}))
    assert {found[1], found[2]} == {"n1", "n2"}
    assert Counter(found.values()) == {"n1": 3, "n2": 3}


def test_leaders_are_where_they_are_wished_for_and_even_there() -> None:
    ranges = [led(number, "n3", "n1 n2 n3") for number in range(1, 5)]
    wishes = Wishes(ZONED, leader_zones=("eu", "us"))
    assert Counter(after(ranges, choose_transfers(ranges, wishes)).values()) == {"n1": 2, "n2": 2}
    nobody_there = [led(1, "n3", "n3")]
    assert choose_transfers(nobody_there, wishes) == []


def test_a_leader_follows_the_requests_if_most_come_from_one_zone() -> None:
    def seen(**by_zone: float) -> list[LedRange]:
        return [led(1, "n1", "n1 n2 n3", per_s=sum(by_zone.values()), by_zone=by_zone)]

    follow = Wishes(ZONED, follow=True)
    assert choose_transfers(seen(eu=10.0, us=90.0), follow) == [Transfer(1, "n1", "n2")]
    assert choose_transfers(seen(eu=45.0, us=55.0), follow) == [], "most is not by a little"
    assert choose_transfers(seen(eu=0.0, us=1.0), follow) == [], "too few to know"
    assert choose_transfers(seen(eu=0.0, us=90.0), Wishes(ZONED)) == [], "nobody has asked for that"
    assert choose_transfers(seen(us=90.0), Wishes(ZONED, ("eu",), follow=True)) == [], "a wish wins"
