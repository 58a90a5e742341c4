"""The names by which a run's nodes know each other: what each node's lookups answer now, and the proof of it.

Each node has a file of hosts of its own in the place of `/etc/hosts`, which the C library and Go read at every lookup.
It is written in place, since what is mounted is the file and not its name. A name that is taken out of it is asked of
whatever resolver the node has, which does not know it. The proof is a lookup by a program where the node is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from harness.environments.healing import Healing
from harness.environments.ledger import Ledger
from nemesis.cluster import Evidence, FaultFailed, NodeState, evidence_of

OPTION = "names"
WHY_NONE = "the nodes know each other by addresses: give --environment-option names=true"
MECHANISM = "a file of hosts of the node's own, mounted over /etc/hosts"
FILE = "hosts"
"""Name of that file in the folder of a node."""
PLACE = "/etc/hosts"
LOOKUP_TIMEOUT_S = 10
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"

Run = Callable[[str, Sequence[str]], Awaitable[tuple[int, str]]]
"""Runs a program where a node's process is; its exit status and output."""


def why_none(chosen: bool) -> dict[str, str]:
    """Capability -> why there is nothing to break; nothing where the nodes were told names."""
    return {} if chosen else {"names": WHY_NONE}


def option_problems(options: Mapping[str, Any]) -> list[str]:
    """What is wrong with the option."""
    value = options.get(OPTION, False)
    return [] if isinstance(value, bool) else [f"{OPTION} {value!r}: must be true or false"]


def hosts_text(names: Mapping[str, str]) -> str:
    """A file of hosts: name -> address."""
    return HOSTS + "".join(f"{address} {name}\n" for name, address in names.items())


def behind_own_file(file: str, argv: Sequence[str]) -> list[str]:
    """A command that sees this file in the place of `/etc/hosts`, in a mount namespace of its own; the process stays
    the same one."""
    mounting = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "--", "sh", "-c", mounting, file, *argv]


class Names:
    """The verbs, for a cluster whose nodes were told names."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        write: Callable[[str, str], Awaitable[None]],
        run: Run,
        state: Callable[[str], NodeState],
        ledger: Ledger,
    ) -> None:
        """`addresses` are the right ones; `write` puts a text into the file of a node."""
        self._addresses = dict(addresses)
        self._write = write
        self._run = run
        self._state = state
        self._ledger = ledger
        self._entries: dict[str, int] = {}

    @property
    def broken(self) -> tuple[str, ...]:
        """Nodes whose lookups answer something else than they should."""
        return tuple(self._entries)

    async def break_at(self, node: str, wrong: bool) -> Evidence:
        """See `Cluster.break_names`."""
        others = [name for name in self._addresses if name != node]
        told = {node: self._addresses[node]}
        if wrong:
            turned = [*others[1:], *others[:1]]
            told |= {name: self._addresses[other] for name, other in zip(others, turned, strict=True)}
        return await self._tell(node, told)

    async def mend_at(self, node: str) -> Evidence:
        """See `Cluster.mend_names`."""
        return await self._tell(node, self._addresses)

    async def _tell(self, node: str, told: Mapping[str, str]) -> Evidence:
        """From now on lookups at the node answer what is told, and nothing else."""
        others = [name for name in self._addresses if name != node]
        before = await self._look_up(node, others)
        if told != self._addresses and node not in self._entries:
            self._entries[node] = self._ledger.intend("names", node=node)
        await self._write(node, hosts_text(told))
        if told == self._addresses and node in self._entries:
            self._ledger.done(self._entries.pop(node))
        after = await self._look_up(node, others)
        if after is None:
            what = f"the file of hosts of {node} was written; nothing can be looked up at a node that is down"
            return evidence_of([{"what": what, "proves": told == self._addresses}])
        return evidence_of(
            [
                {
                    "what": f"{name} looked up at {node}",
                    "before": (before or {}).get(name, "unknown"),
                    "after": after[name] or "no such name",
                    "proves": after[name] == told.get(name),
                }
                for name in others
            ]
        )

    async def _look_up(self, node: str, names: Sequence[str]) -> dict[str, str | None] | None:
        """Name -> the address that a lookup at the node gives, if it gives one; None where the node is down."""
        if self._state(node) == "down":
            return None

        async def one(name: str) -> str | None:
            argv = ["timeout", str(LOOKUP_TIMEOUT_S), "getent", "ahostsv4", name]
            status, output = await self._run(node, argv)
            if status not in (0, 2, 124):  # Found; not found; no answer in time.
                raise FaultFailed(
                    f"looking up {name} at {node}: {output.strip()[:200] or f'exit code {status}'}"
                )
            return output.split()[0] if status == 0 else None

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


class NameVerbs:
    """What `nemesis.cluster.Cluster` asks about names. A cluster sets `names` where its nodes were told any."""

    names: Names | None = None

    def _told(self) -> Names:
        if self.names is None:
            raise FaultFailed(WHY_NONE)
        return self.names

    async def break_names(self, node: str, wrong: bool) -> Evidence:
        return await self._told().break_at(node, wrong)

    async def mend_names(self, node: str) -> Evidence:
        return await self._told().mend_at(node)

    async def mend_all_names(self, healing: Healing) -> None:
        """Of every node whose names are broken."""
        for node in () if self.names is None else self.names.broken:

            async def mend(node: str = node) -> Evidence:
                return await self.mend_names(node)

            await healing.attempt(f"mended the names at {node}", mend)
