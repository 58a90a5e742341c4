"""Writes of a few keys, and watchers of them: a watcher is told of every change once, in order, with what was before.

A watch begins at some revision in the past or at what comes next, and is looked at for a short while. At the end
every node's process watches everything from the first revision until it has what was written last; so what a watcher
was never told of is known.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec

from checkers.watch import WatchChecker
from results.operation import OK, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.main_phase import main_phase
from workloads.session import WATCH, Definite
from workloads.workload import Option, Workload, WorkloadOptions, read_options

PREFIXES = ("a/", "b/")
LAST = chr(0x10FFFF)
"""Sorts after everything that begins with a prefix, when appended to it."""


class WatchedWrites(Generator, frozen=True):
    """Puts and deletes of a few keys, and watches of one of them or of all with the same beginning, without end."""

    random: random.Random
    keys: tuple[str, ...]
    watch_share: float
    delete_share: float
    next_value: int = 0
    revision: int = 0
    """The newest that was seen in an answer."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        stream = self.random
        key = stream.choice(self.keys)
        if stream.random() < self.watch_share:
            revision = stream.randint(1, self.revision + 1) if stream.random() < 0.5 else self.revision + 1
            what = {"key": key} if stream.random() < 0.5 else {"prefix": stream.choice(PREFIXES)}
            return Invocation("watch", {**what, "revision": revision}, process, context.time), self
        if stream.random() < self.delete_share:
            return Invocation("delete", key, process, context.time), self
        following = msgspec.structs.replace(self, next_value=self.next_value + 1)
        return Invocation("put", [key, self.next_value], process, context.time), following

    def update(self, context: Context, event: Operation) -> Generator:
        if event.type != OK or event.f not in ("put", "delete"):
            return self
        revision = event.value[-1]
        if not isinstance(revision, int) or revision <= self.revision:
            return self
        return msgspec.structs.replace(self, revision=revision)


class WatchWorkload(Workload):
    """Processes write and delete a few keys while others watch them; every watcher must be told of every change, once
    and in order."""

    name = "watch"
    needs = frozenset({WATCH})
    read_only_functions = frozenset({"watch"})
    required_functions = ("put", "watch")
    known_options = {  # noqa: RUF012 - never changed
        "keys": Option(6, 2, 1000, "how many keys there are"),
        "watch_share": Option(0.1, 0.01, 0.9, "share of watches among all operations"),
        "delete_share": Option(0.15, 0.0, 0.9, "share of deletes among writes"),
        "watch_s": Option(0.2, 0.001, 60.0, "seconds for which a watch is looked at"),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = WatchChecker()
        self.watch_s = float(own["watch_s"])
        keys = tuple(f"{PREFIXES[number % 2]}{number}" for number in range(int(own["keys"])))
        writes = WatchedWrites(options.stream(), keys, float(own["watch_share"]), float(own["delete_share"]))
        self.generator = main_phase(writes, options)
        everything = combine.operation("watch", {"prefix": "", "revision": 1, "until": "now"})
        self.final_generator = final_reads(combine.until_ok(combine.repeat(everything)), options)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        value = invocation.value
        match invocation.f:
            case "put":
                return [*value, await session.put_revised(*value)]
            case "delete":
                return [value, await session.delete_revised(value)]
            case "watch":
                return await self._watch(session, value)
        raise ValueError(f"workload watch has no function {invocation.f!r}: put, delete, watch")

    async def _watch(self, session: Any, value: dict[str, Any]) -> dict[str, Any]:
        start = value["key"] if "key" in value else value["prefix"]
        end = start + ("\0" if "key" in value else LAST)
        until = await session.revision() if value.get("until") == "now" else None
        batches: list[list[dict[str, Any]]] = []
        bookmarks: list[list[int]] = []
        stream = session.watch(start, end, value["revision"])
        try:
            async with asyncio.timeout(self.watch_s if until is None else None):
                async for batch in stream:
                    if batch.events:
                        batches.append([msgspec.structs.asdict(event) for event in batch.events])
                    if batch.progress is not None:
                        bookmarks.append([len(batches), batch.progress])
                    if until is not None and _reaches(batches, bookmarks, until):
                        break
        except TimeoutError:
            pass
        finally:
            await stream.aclose()
        if not batches and not bookmarks:
            raise Definite("nothing", "nothing came while the watch was looked at")
        return {"events": batches, "bookmarks": bookmarks}

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        match invocation.f:
            case "put" if not isinstance(value, list) or len(value) != 3:
                return ["a put answers [key, value, revision]"]
            case "delete" if not isinstance(value, list) or len(value) != 2:
                return ["a delete answers [key, revision or null]"]
            case "watch" if not isinstance(value, dict) or not isinstance(value.get("events"), list):
                return ["a watch answers a mapping with its events in batches"]
        return []


def _reaches(batches: list[list[dict[str, Any]]], bookmarks: list[list[int]], revision: int) -> bool:
    """Whether a watcher has everything up to this revision."""
    last = batches[-1][-1]["revision"] if batches else 0
    return bool(last >= revision or (bookmarks and bookmarks[-1][1] >= revision))
