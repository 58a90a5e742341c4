"""Links shaped by the kernel: what it is told, what is taken for proof, and what is left to the packet engine.

The kernel is a fake that takes notes and counts, so that this holds on kernels without netem too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from harness.environments.ledger import Ledger
from harness.environments.linux import faults, netem
from harness.environments.linux.links import Links
from harness.environments.linux.netem import Netem, can, words
from harness.environments.linux.packets import Condition
from harness.environments.linux.rules import Rule
from harness.environments.linux.shaping import Shaping
from nemesis.cluster import FaultFailed, Link
from tests.harness.environments.test_shaping import OneLink, Source, Target

LINK = ("n1", "n2")
INCOMING = Rule("in", "10.0.0.1")


class Kernel:
    """Runs `ip` and `tc`: notes their lines; each look at the counters shows ten packets more, two of them lost."""

    def __init__(self, *, refuses: str = "nothing") -> None:
        self.lines: list[str] = []
        self.packets = 0
        self._refuses = refuses

    async def run(self, node: str, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        if argv[:2] == ["ip", "-o"]:
            return 0, f"{argv[-1]} dev data src 10.0.0.2 uid 0"
        if "-s" in argv:
            self.packets += 8
            shown = [
                {"kind": "htb", "handle": "1:", "packets": 99, "drops": 0, "bytes": 9},
                {
                    "kind": "netem",
                    "handle": "101:",
                    "packets": self.packets,
                    "drops": self.packets // 4,
                    "bytes": 800,
                },
            ]
            return 0, json.dumps(shown)
        self.lines += [f"{argv[0]} {line}" for line in text.splitlines()]
        if self._refuses in text:
            return 1, "RTNETLINK answers: Operation not permitted"
        return 0, ""


class LinkOfNamespace(OneLink):
    """See `OneLink`; notes which links are led to the packet engine."""

    def __init__(self) -> None:
        target = Target(("127.0.0.1", 2))
        super().__init__((Source(target, 0), target))
        self.queued: dict[Link, int | None] = {}

    def rule_of(self, link: Link) -> Rule:
        return INCOMING

    async def queue(self, numbers: Mapping[Link, int | None]) -> None:
        self.queued.update(numbers)


class Engine:
    """The packet engine; notes what it is told of each queue."""

    def __init__(self) -> None:
        self.told: dict[int, Mapping[str, Any]] = {}

    async def __call__(self, verb: str, **arguments: Any) -> Any:
        if verb == "put":
            self.told[arguments["queue"]] = arguments["condition"]
        names = ("seen", "bytes", "delayed", "lost", "duplicated", "reordered", "corrupted")
        return [{"node": "n2", "queue": one, **dict.fromkeys(names, 0)} for one in self.told]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (Condition(delay_s=0.02), "delay 20.000ms"),
        (Condition(delay_s=0.02, jitter_s=0.005), "delay 20.000ms 5.000ms"),
        (Condition(lose=0.1), "loss random 10.0000%"),
        # Gilbert's model: bursts of 4 on the average, and a tenth of all packets lost.
        (Condition(lose=0.1, burst=4.0), "loss gemodel 2.7778% 25.0000%"),
        (Condition(bytes_per_s=32_000), "rate 256000bit"),
    ],
)
def test_a_condition_in_the_words_of_netem(condition: Condition, told: str) -> None:
    assert " ".join(words(condition)).endswith(told)
    assert can(condition)


def test_what_its_counters_do_not_show_is_not_for_netem() -> None:
    assert not can(Condition(duplicate=0.1))
    assert not can(Condition(delay_s=0.1, reorder=0.1))
    assert not can(Condition(corrupt=0.1))


def test_a_link_is_shaped_changed_and_restored_in_chains_of_commands() -> None:
    """The namespace is prepared once; a new namespace of the node is prepared anew."""
    kernel = Kernel()
    shaper = Netem(kernel.run)

    async def story() -> None:
        await shaper.put("n2", 1, INCOMING, Condition(delay_s=0.1))
        assert kernel.lines[:2] == ["ip link add mrh-in type ifb", "ip link set mrh-in up"]
        assert any("ingress" in line for line in kernel.lines)
        assert (
            "tc qdisc replace dev mrh-in parent 1:2 handle 101: netem limit 65535 delay 100.000ms"
            in kernel.lines
        )
        assert kernel.lines[-1].endswith("match ip src 10.0.0.1/32 flowid 1:2")
        kernel.lines.clear()
        await shaper.put("n2", 1, INCOMING, Condition(lose=0.2))
        assert not any(line.startswith("ip ") for line in kernel.lines)
        assert (await shaper.counted("n2"))[1]["lost"] == 2
        await shaper.drop("n2", 1)
        assert kernel.lines[-1] == "tc class del dev mrh-in classid 1:2"
        await shaper.drop("n2", 1)
        shaper.forget("n2")
        kernel.lines.clear()
        await shaper.put("n2", 1, Rule("out", "10.0.0.1"), Condition(delay_s=0.1))
        assert kernel.lines[0] == "tc qdisc replace dev data root handle 1: htb default 0"
        assert kernel.lines[-1].endswith("match ip dst 10.0.0.1/32 flowid 1:2")

    asyncio.run(story())


def test_a_kernel_that_refuses_is_no_effect() -> None:
    with pytest.raises(FaultFailed, match="tc in the namespace of n2: RTNETLINK answers"):
        asyncio.run(Netem(Kernel(refuses="netem").run).put("n2", 1, INCOMING, Condition(delay_s=0.1)))


def test_the_kernel_does_what_it_can_and_the_engine_the_rest(tmp_path: Path) -> None:
    """A link changes hands with its condition; the proof names who shapes it, and one that was not met is none."""
    kernel, link, engine = Kernel(), LinkOfNamespace(), Engine()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "netns")
    shaping = Shaping(cast(Links, link), engine, ledger, Netem(kernel.run))

    async def story() -> None:
        await shaping.joined("n2", 1)
        lossy = await shaping.lose([LINK], 0.2)
        assert lossy.probes[0]["by"] == "netem"
        assert link.queued == {LINK: None}
        assert engine.told == {}
        disturbed = await shaping.disturb([LINK], duplicate=0.5)
        assert disturbed.probes[0]["by"] == "the packet engine"
        assert not disturbed.took_effect
        assert link.queued == {LINK: 1}
        assert engine.told[1]["duplicate"] == 0.5
        assert engine.told[1]["lose"] == 0.2
        assert kernel.lines[-1].startswith("tc class del")
        await shaping.restore([LINK])
        assert shaping.shaped == ()
        assert ledger.open_entries == ()

    asyncio.run(story())


def test_the_choice_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netem, "why_not", lambda: "Error: Specified qdisc kind is unknown.")
    assert faults.shape_mechanisms()["slow"] == f"{faults.PACKETS}; no netem here: {netem.why_not()}"
    monkeypatch.setattr(netem, "why_not", lambda: None)
    assert faults.shape_mechanisms()["slow"] == faults.NETEM
    assert faults.shape_mechanisms()["disturb"].startswith(faults.PACKETS)
