"""Every number of a node in one table: counters that add up in a small cluster, and a page that Prometheus can read."""

import re

from prometheus_client.parser import text_string_to_metric_families

from reference_db.api import ClientPut, ClientSplit
from reference_db.metrics import METRICS, prometheus_text
from reference_db.server.metrics_page import answer
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?\d+)')


def read(text: str) -> dict[tuple[str, str], int]:
    """Samples by name and labels, by the rules of exposition format 0.0.4: each family has one HELP and one TYPE before
    its samples, families are not mixed, a series comes once, the text ends in a line feed."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], int] = {}
    families: list[str] = []
    kind = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in families, f"{family} comes twice"
            families.append(family)
            kind = ""
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == families[-1]
            assert kind in ("counter", "gauge")
            assert (kind == "counter") == family.endswith("_total")
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            name, labels, value = sample.groups()
            assert name == families[-1]
            assert kind
            assert (name, labels) not in found
            found[name, labels] = int(value)
    return found


def test_a_split_and_a_follower_that_lags_show_in_the_numbers() -> None:
    """n3 is cut off while one key is written five times: exactly the leaders' nodes say how far it is behind."""

    async def story() -> None:
        world = World(seed=4, ranges=1)
        world.start_all()
        await world.wait_until_led()
        leader = world.leader(1)
        assert leader is not None
        await world.ask(leader, ClientSplit(b"\x01m"))
        await world.wait_until_led()
        await world.wait_for(
            lambda: all(node.status()["counters"]["splits"] == 1 for node in world.nodes.values()),
            what="the split is applied everywhere, once",
        )
        away = next(name for name in world.names if name != leader and name != world.leader(2))
        world.isolate(away)
        before = world.nodes[leader].store.survey().lag[away]
        for number in range(5):
            await world.ask(leader, ClientPut(b"\x01a", b"%d" % number))
        samples = read(prometheus_text(world.nodes[leader].sources()))
        lag = samples["multiraft_follower_lag_entries", f'node="{leader}",follower="{away}"']
        assert lag == before + 5
        assert samples["multiraft_splits_total", f'node="{leader}"'] == 1
        assert samples["multiraft_replicas", f'node="{leader}"'] == 2
        assert len(samples) == len(METRICS) + 2
        # A parser that is not ours reads the same.
        families = text_string_to_metric_families(prometheus_text(world.nodes[leader].sources()))
        assert sorted((one.name, one.value) for family in families for one in family.samples) == sorted(
            (name, value) for (name, _), value in samples.items()
        )
        # The same table, told to clients.
        status = world.nodes[leader].status()
        assert list(status["counters"]) == [metric.name for metric in METRICS]
        mine = {one["id"]: one for one in status["ranges"]}
        assert mine[1]["lag"][away] >= 5
        await world.stop()

    run_virtually(story())


def test_every_election_that_is_won_counts_once() -> None:
    async def story() -> None:
        world = World(seed=5, ranges=3)
        world.start_all()
        await world.wait_until_led()
        won = [node.status()["counters"]["elections_won"] for node in world.nodes.values()]
        assert sum(won) == 3
        assert [node.store.survey().led for node in world.nodes.values()] == won
        await world.stop()

    run_virtually(story())


def test_one_page_and_nothing_else() -> None:
    def head(request: bytes) -> bytes:
        return answer(request, lambda: "x 1\n").split(b"\r\n")[0]

    assert answer(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", lambda: "x 1\n").endswith(b"\r\n\r\nx 1\n")
    assert answer(b"HEAD /metrics HTTP/1.1\r\n\r\n", lambda: "x 1\n").endswith(b"close\r\n\r\n")
    assert head(b"GET / HTTP/1.1\r\n\r\n") == b"HTTP/1.1 404 Not Found"
    assert head(b"POST /metrics HTTP/1.1\r\n\r\n") == b"HTTP/1.1 405 Method Not Allowed"
    assert head(b"hello\r\n\r\n") == b"HTTP/1.1 400 Bad Request"
