"""The conformance kit finds each kind of dishonest session, and lets the honest twin pass: a real process."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.conformance.kit import Case, Kit, left_behind, orphans
from harness.environments.environment import CLIENT_PORT
from harness.environments.local import LocalEnvironment
from harness.scaffold.new_project import make_project
from results.run_folder import RunFolder
from workloads.session import Definite, Indefinite

PATIENCE_S = 0.25


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The pages of a new project's system; its database is a toy that is honest."""
    folder = tmp_path_factory.mktemp("twins") / "project"
    make_project("conformance-toy", folder)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("conformance_toy.system")
    finally:
        sys.path.remove(str(folder))


def twins(toy: Any) -> dict[str, tuple[Any, str, str]]:
    """For each way to be dishonest: a system, which cases of the kit, and the sentence that tells of it."""

    def system(name: str, changed: dict[str, Any], **own: Any) -> Any:
        session = type(name, (toy.MyToySession,), changed)

        async def open_session(self: Any, address: Any, node: str) -> Any:
            return session(*await asyncio.open_connection(*address[CLIENT_PORT]))

        return type(name, (toy.MyToy,), {"open_session": open_session, **own})()

    call, close = toy.MyToySession.call, toy.MyToySession.close

    async def refuses_what_is_lost(self: Any, **request: Any) -> Any:
        try:
            return await call(self, **request)
        except Indefinite as error:
            raise Definite(error.kind, error.text) from error

    async def asks_once_more(self: Any, **request: Any) -> Any:
        try:
            return await call(self, **request)
        except Indefinite:
            self._reader, self._writer = await asyncio.open_connection(
                *self._writer.get_extra_info("peername")
            )
            return await call(self, **request)

    async def hopes(self: Any, **request: Any) -> Any:
        try:
            return await call(self, **request)
        except Indefinite:
            return True

    async def times_out(self: Any, **request: Any) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S / 3):
                return await call(self, **request)
        except TimeoutError as error:
            raise Definite("timeout", "no answer") from error

    async def waits_to_close(self: Any) -> None:
        await asyncio.sleep(3600)

    async def forgets_to_close(self: Any) -> None:
        self.kept = self._writer

    async def puts_text(self: Any, key: str, value: Any) -> None:
        await call(self, do="put", key=key, value=str(value))

    async def opens_elsewhere(self: Any, address: Any, node: str) -> Any:
        return await toy.MyToy.open_session(self, self.first, node)

    async def opens_late(self: Any, address: Any, node: str) -> Any:
        class Late(toy.MyToySession):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                self._writer = None

            async def close(self) -> None:
                if self._writer is not None:
                    await close(self)

            async def call(self, **request: Any) -> Any:
                while self._writer is None:
                    try:
                        self._reader, self._writer = await asyncio.open_connection(*address[CLIENT_PORT])
                    except OSError:
                        await asyncio.sleep(0.02)
                return await call(self, **request)

        return Late()

    no_change: dict[str, Any] = {}
    return {
        "Definite for a lost connection": (
            system("Refuses", {"call": refuses_what_is_lost}), "losses put", "but it has happened"
        ),
        "a second attempt of its own": (
            system("Again", {"call": asks_once_more}), "losses compare-and-set of nothing",
            "it returned False, but it has happened",
        ),
        "yes without a reply": (system("Hopes", {"call": hopes}), "losses put", "but it has not happened"),
        "Definite for a timeout": (
            system("Impatient", {"call": times_out}), "losses delete",
            "Definite(timeout: no answer), but it has happened",
        ),
        "close that waits": (system("Waits", {"close": waits_to_close}), "closing", "close had not come back"),
        "a connection that is kept": (
            system("Keeps", {"close": forgets_to_close}), "closing", "1 of its connections stayed open"
        ),
        "values that change their type": (system("Text", {"put": puts_text}), "values", "put 0, got '0'"),
        "another address than the one that is given": (
            system("Elsewhere", no_change, open_session=opens_elsewhere), "calls", "no byte went to the address"
        ),
        "endless attempts to connect": (
            system("Late", no_change, open_session=opens_late), "refused", "its first put said: TimeoutError"
        ),
        "an interface that it has not": (
            system("Boasts", no_change, interfaces=frozenset({"key-value", "queue"})), "interfaces", "'queue' is"
        ),
    }  # fmt: skip


def on_a_cluster(
    system: Any, folder: Path, story: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch | None = None
) -> Any:
    """What a story answers that is played on one node of this system."""
    environment = LocalEnvironment(0)

    async def played() -> Any:
        cluster = await environment.create_cluster(system, ["n1"], RunFolder.create(folder, "verify"), {})
        try:
            await cluster.start_all()
            await cluster.wait_ready()
            return await story(cluster)
        finally:
            await cluster.destroy()

    return environment.run(played())


@pytest.mark.slow
def test_each_dishonest_session_is_found_and_its_honest_twin_passes(toy: Any, tmp_path: Path) -> None:
    toy.MyToy, toy.MyToySession = toy.ConformanceToy, toy.ConformanceToySession

    async def story(cluster: Any) -> None:
        for name, (system, cases, words) in twins(toy).items():
            system.first = cluster.direct_address("n1")  # As a client library may find it out.
            kit = Kit(system, cluster, lambda case: None, PATIENCE_S)
            method, _, only = cases.partition(" ")
            await getattr(kit, method)(*filter(None, [only]))
            failed = [case for case in kit.cases if case.outcome == "FAIL"]
            assert any(words in case.text for case in failed), f"{name}: {kit.cases}"
            assert all(case.mend for case in failed), "each says what to mend"
        innocent = Kit(toy.MyToy(), cluster, lambda case: None, PATIENCE_S)
        await innocent.examine()
        assert [case for case in innocent.cases if case.outcome != "pass"] == []
        assert len(innocent.cases) > 20

    on_a_cluster(toy.ConformanceToy(), tmp_path, story)


@pytest.mark.slow
def test_what_a_node_leaves_behind_is_found(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose parents have gone outlives its node; a file lies where nobody removes it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    class Litters(toy.ConformanceToy):  # type: ignore[name-defined, misc]
        def launch(self, plan: Any, all_nodes: Any) -> Any:
            launch = super().launch(plan, all_nodes)
            script = 'touch "$TMPDIR/left"; (setsid sleep 600 &); exec "$@"'
            return type(launch)(["sh", "-c", script, "sh", *launch.argv])

    def left(system: Any) -> list[Case]:
        async def story(cluster: Any) -> Case:
            return await orphans(cluster, cluster.ledger.header.token)

        return [on_a_cluster(system, tmp_path, story), *left_behind([("127.0.0.1", 1)], temporary)]

    assert [case.outcome for case in left(toy.ConformanceToy())] == ["pass", "pass", "pass"]
    cases = left(Litters())
    assert [case.outcome for case in cases] == ["FAIL", "pass", "FAIL"]
    assert "sleep 600" in cases[0].text
    assert cases[2].text == "in the folder for temporary files: left"


def test_a_port_at_which_somebody_still_listens_is_found(tmp_path: Path) -> None:
    async def story() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        assert [case.outcome for case in left_behind([address], tmp_path)] == ["FAIL", "pass"]
        server.close()

    asyncio.run(story())
