"""`harness db status`: whom it believes where nodes disagree, and what it shows of those that are silent."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from harness.cli.db_status import SHOWN, as_json, as_tables, ask_all, put_together


@dataclass(frozen=True)
class Told:
    """A node as the command knows it."""

    name: str
    running: bool = True
    pid: int = 7
    client: tuple[str, int] = ("127.0.0.1", 7101)

    @property
    def addresses(self) -> str:
        return self.name

    def is_running(self) -> bool:
        return self.running


def one_range(range_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": range_id,
        "start": "",
        "end": None,
        "generation": 0,
        "role": "follower",
        "leader": None,
        "term": 3,
        "applied": 5,
        "lag": {},
        "lease_ms": None,
        "closed_ms": None,
        "asleep": False,
        **changes,
    }


def state(*ranges: dict[str, Any], each: int = 1) -> dict[str, Any]:
    return {"counters": {name: each for _, name in SHOWN}, "ranges": list(ranges)}


class Cluster:
    """Answers as it was told to, or not at all."""

    def __init__(self, **answers: dict[str, Any] | OSError) -> None:
        self.answers = answers

    async def status(self, address: str) -> dict[str, Any]:
        answer = self.answers[address]
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_the_leader_of_the_newest_term_is_believed() -> None:
    """n3 was cut off: it believes that it leads in term 3. n1 leads in term 4, and n2 follows it."""
    cluster = Cluster(
        n1=state(
            one_range(role="leader", leader="n1", term=4, applied=9, lag={"n2": 0, "n3": 4}, lease_ms=700)
        ),
        n2=state(one_range(leader="n1", term=4, closed_ms=120)),
        n3=state(one_range(role="leader", leader="n3", term=3, lag={"n1": 2, "n2": 2})),
    )
    members = [Told("n1"), Told("n2"), Told("n3")]
    whole = put_together(asyncio.run(ask_all(cluster, members)), members)
    (only,) = whole["ranges"]
    assert (only["leader"], only["term"], only["lag"]) == ("n1", 4, {"n2": 0, "n3": 4})
    assert only["closed_ms"] == {"n2": 120}
    assert whole["totals"]["syncs"] == 3
    text = as_tables(whole)
    assert "n2:0 n3:4" in text
    assert "700 ms" in text
    assert json.loads(as_json(whole)) == whole


def test_lag_is_unknown_where_the_leader_is_silent() -> None:
    """n1 leads and is down: what followers know is not how far anybody lags. A silent node is no node that is down."""
    cluster = Cluster(n2=state(one_range(leader="n1")), n3=ConnectionRefusedError("refused"))
    members = [Told("n1", running=False), Told("n2"), Told("n3")]
    whole = put_together(asyncio.run(ask_all(cluster, members)), members)
    assert [node["state"] for node in whole["nodes"]] == ["down", "up", "does not answer (refused)"]
    assert whole["ranges"][0]["lag"] is None
    assert whole["totals"]["syncs"] == 1


def test_of_many_ranges_the_first_are_shown_in_order_of_their_keys() -> None:
    ranges = [one_range(number, start=f"k{9 - number}", leader="n1") for number in range(1, 8)]
    members = [Told("n1")]
    whole = put_together({"n1": state(*ranges)}, members)
    assert [one["start"] for one in whole["ranges"]] == [f"k{number}" for number in range(2, 9)]
    text = as_tables(whole, most=3)
    assert "k4" in text
    assert "k5" not in text
    assert "and 4 more ranges" in text
    assert "k8" in as_tables(whole, most=0)
