"""`harness db`: what it says without a cluster, how words are read, and a whole life of a cluster."""

import asyncio
import contextlib
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.db import Conversation, command, value_of, words_of
from tests.reference_db.server.processes import free_ports
from tests.support.processes import wait_until


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, result.output


def test_without_a_cluster_every_command_says_how_to_start_one(tmp_path: Path) -> None:
    for name in ("status", "shell", "stop"):
        code, output = invoke(name, "--folder", str(tmp_path))
        assert code == 1
        assert "harness db start" in output


def test_an_unknown_defect_is_wrong_usage(tmp_path: Path) -> None:
    code, output = invoke("start", "--folder", str(tmp_path), "--defect", "nonsense")
    assert code == 2
    assert "leader-local-read" in output


def test_how_words_and_values_are_read() -> None:
    assert words_of('put a "two words"') == ["put", "a", "two words"]
    assert words_of('put a "open') == ["put", "a", '"open']
    assert [value_of(text) for text in ("1", "[1, 2]", "null", "plain")] == [1, [1, 2], None, "plain"]


class Fake:
    """A session and its transaction in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ended: list[str] = []

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        if self.values.get(key) != expected:
            return False
        self.values[key] = new
        return True

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        return sorted(item for item in self.values.items() if start <= item[0] and (not end or item[0] < end))

    def transaction(self) -> "Fake":
        return self

    async def __aenter__(self) -> "Fake":
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.ended.append("commit" if kind is None else "rollback")


def test_a_conversation() -> None:
    fake = Fake()
    conversation = Conversation(fake)  # type: ignore[arg-type]

    async def say(line: str) -> str:
        return await conversation.ask(words_of(line))

    async def story() -> None:
        assert await say("put a 1") == "ok"
        assert await say("get a") == "1"
        assert await say("cas a 2 3") == "not applied: the value was another"
        assert await say("cas a 1 3") == "ok"
        assert await say("begin") == "ok"
        assert conversation.prompt == "db (transaction)> "
        assert "not understood" in await say("begin")
        assert await say("put b [1]") == "ok"
        assert await say("commit") == "ok"
        assert await say("begin") == "ok"
        assert await say("rollback") == "ok"
        assert fake.ended == ["commit", "rollback"]
        assert await say("scan") == "a  3\nb  [1]"
        assert await say("scan b") == "b  [1]"
        assert await say("delete a") == "ok"
        assert "not understood" in await say("get")
        assert "scan" in await say("help")

    asyncio.run(story())


@pytest.mark.slow
def test_the_life_of_a_cluster_for_people(tmp_path: Path) -> None:
    folder = str(tmp_path / "db")
    try:
        metrics = free_ports(3)[0]
        code, output = invoke("start", "--folder", folder, "--ranges", "2", "--metrics-port", str(metrics))
        assert code == 0, output
        code, output = invoke("shell", "--folder", folder, "-c", "put k 5", "-c", "get k")
        assert (code, output) == (0, "ok\n5\n")
        code, output = invoke("status", "--folder", folder)
        # Who leads is the database's business: on a busy machine it may be one node for a while.
        assert re.findall(r"^(n\d) .* up, leads \d of 2 ranges", output, re.MULTILINE) == ["n1", "n2", "n3"]
        cluster = json.loads(invoke("status", "--folder", folder, "--json")[1])
        assert [one["id"] for one in cluster["ranges"]] == [1, 2]
        assert cluster["totals"]["syncs"] == sum(node["counters"]["syncs"] for node in cluster["nodes"]) > 0
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics + 1}/metrics", timeout=60) as page:
            assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert 'multiraft_replicas{node="n2"} 2\n' in page.read().decode()
        assert invoke("stop", "--folder", folder)[1] == "n1 stopped\nn2 stopped\nn3 stopped\n"
        assert invoke("start", "--folder", folder, "--ranges", "2")[0] == 0
        assert invoke("shell", "--folder", folder, "-c", "get k")[1] == "5\n"
    finally:
        with contextlib.suppress(Exception):
            code, output = invoke("stop", "--folder", folder, "--remove")
    assert code == 0
    assert not (tmp_path / "db" / "n1").exists()


@pytest.mark.slow
def test_a_node_joins_a_running_cluster(tmp_path: Path) -> None:
    folder = str(tmp_path / "db")

    def states() -> dict[str, str]:
        placement = json.loads(invoke("status", "--folder", folder, "--json")[1])["placement"]
        return {one["name"]: one["state"] for one in placement["nodes"]}

    try:
        assert invoke("add", "--folder", folder)[0] == 1, "there is nothing to join yet"
        layout = ["--nodes", "1", "--ranges", "1", "--replication", "1"]
        code, output = invoke("start", "--folder", folder, *layout, "--system-option", "placement=on")
        assert code == 0, output
        assert invoke("shell", "--folder", folder, "-c", "put k 5")[1] == "ok\n"
        code, output = invoke("add", "--folder", folder)
        assert code == 0, output
        wait_until(lambda: states() == {"n1": "active", "n2": "active"}, 60, "both nodes are active")
        assert invoke("shell", "--folder", folder, "--node", "n2", "-c", "get k")[1] == "5\n"
        code, output = invoke("decommission", "--folder", folder, "n9")
        assert "there is no node n9" in output
    finally:
        with contextlib.suppress(Exception):
            invoke("stop", "--folder", folder, "--remove")
