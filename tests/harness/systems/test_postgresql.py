"""PostgreSQL, judged at each isolation level; errors sorted; relays; passwords that reach nothing that is kept."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.environments.local import LocalEnvironment
from harness.environments.relay import parse_address
from harness.systems.postgresql import PostgreSQL
from results.run_folder import RunFolder
from tests.support.foreign import short_run
from tests.support.requirements import skip_unless_required
from workloads.session import Definite, Indefinite


@pytest.fixture
def server() -> None:
    """Skips without the server or its client library."""
    pytest.importorskip("psycopg")
    if not any(Path("/").glob("usr/lib/postgresql/*/bin/postgres")) and shutil.which("postgres") is None:
        skip_unless_required("postgres", "PostgreSQL is not installed")


def test_what_the_server_reports_is_rolled_back_and_all_else_unknown() -> None:
    errors = pytest.importorskip("psycopg.errors")
    system = PostgreSQL()
    for kind in ("SerializationFailure", "DeadlockDetected", "UniqueViolation", "UndefinedTable", "DiskFull"):
        assert isinstance(system.sorted_error(getattr(errors, kind)("told")), Definite), kind
    for kind in (
        "AdminShutdown",
        "CrashShutdown",
        "ConnectionFailure",
        "StatementCompletionUnknown",
        "InternalError_",
    ):
        assert isinstance(system.sorted_error(getattr(errors, kind)("told")), Indefinite), kind
    assert isinstance(
        system.sorted_error(pytest.importorskip("psycopg").OperationalError("gone")), Indefinite
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [("db:26257", ("db", 26257)), ("db", ("db", 5432)), ("[::1]:7", ("::1", 7)), ("[::1]", ("::1", 5432))],
)
def test_an_address_may_leave_out_the_usual_port(text: str, address: tuple[str, int]) -> None:
    assert PostgreSQL(options={"address": text}).address == address
    with pytest.raises(ValueError, match="'db' is no address: HOST:PORT"):
        parse_address("db")
    with pytest.raises(ValueError, match="is no address"):
        PostgreSQL(options={"address": "db:many"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "isolation", "code", "words"),
    [
        ("write-skew", "repeatable-read", 1, "write skew (G2-item)"),
        ("write-skew", "serializable", 0, "was filled by two transactions"),
        ("bank", "read-committed", 1, "wrong total"),
    ],
)
def test_each_level_shows_the_anomalies_that_it_allows(
    server: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workload: str,
    isolation: str,
    code: int,
    words: str,
) -> None:
    """Write skew at repeatable read and not at serializable; lost updates make or lose money at read committed."""
    # fmt: off
    ended = short_run(
        tmp_path, "postgresql", workload, "--nodes", "1", "--nemesis", "none", "--concurrency", "6",
        "--system-option", f"isolation={isolation}", seconds=3,
    )
    # fmt: on
    shown = capsys.readouterr().out
    assert ended == code, shown
    assert words in shown


@pytest.mark.slow
def test_a_password_reaches_nothing_that_is_kept_or_printed(
    server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run attaches by address to a server that wants a password. A wrong one is refused, and not repeated."""
    password, wrong = f"pw-{secrets.token_hex(8)}", f"no-{secrets.token_hex(8)}"
    started = PostgreSQL()
    environment = LocalEnvironment(0)

    async def attached() -> int:
        folder = RunFolder.create(tmp_path / "server", "server")
        cluster = await environment.create_cluster(started, ["n1"], folder, {})
        try:
            await cluster.start_all()
            await cluster.wait_ready()
            session = await started.open_session(cluster.direct_address("n1"), "n1")
            await session.run(f"ALTER USER postgres PASSWORD '{password}'")
            await session.run("ALTER SYSTEM SET log_connections = on")
            await session.close()
            hba = cluster.plan("n1").data_dir / "server" / "pg_hba.conf"
            hba.write_text("host all all all scram-sha-256\n")
            await cluster.terminate("n1")
            again = PostgreSQL(options={"password": "env:DB_PASSWORD"})
            cluster.system = again
            await cluster.start("n1")
            host, port = cluster.direct_address("n1")["client"]
            words = [
                "--nodes", "1", "--nemesis", "none", "--system-option", f"address={host}:{port}", "--system-option",
                "password=env:DB_PASSWORD", "--recovery-timeout", "5",
            ]  # fmt: skip
            code = await asyncio.to_thread(run_elsewhere, tmp_path / "runs", words, password)
            os.environ["DB_PASSWORD"] = wrong
            with pytest.raises(Definite, match="password authentication failed") as refusal:
                await again.open_session(cluster.direct_address("n1"), "n1")
            assert wrong not in str(refusal.value)
            with pytest.raises(EnvironmentFailed, match="see the options user and password"):
                await again.is_ready(cluster.direct_address("n1"))  # So a run ends at once.
            return code
        finally:
            await cluster.destroy()

    monkeypatch.setenv("DB_PASSWORD", password)
    assert environment.run(attached()) == 0
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(kept) > 6
    for path in kept:
        assert password.encode() not in path.read_bytes(), path
    assert any(b"password=env:DB_PASSWORD" in path.read_bytes() for path in kept), "the reference is kept"


def run_elsewhere(folder: Path, words: list[str], password: str) -> int:
    """A run in a process of its own, since this one's loop is busy with the server. Its output is kept too."""
    folder.mkdir(exist_ok=True)
    argv = [
        sys.executable,
        "-m",
        "harness",
        "test",
        "--system",
        "postgresql",
        "--workload",
        "register",
        "--seed",
        "1",
    ]
    with (folder / f"output-{secrets.token_hex(4)}.txt").open("wb") as output:
        done = subprocess.run(
            [*argv, "--time-limit", "2", *words, "--runs-dir", str(folder)],
            env={**os.environ, "DB_PASSWORD": password, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=output,
            stderr=output,
            timeout=200,
        )
    return done.returncode
