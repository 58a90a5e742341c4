"""NATS JetStream, judged: keys and logs hold through the stream's leader; what any replica answers is refuted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.systems.nats import Nats
from tests.support.foreign import require_program, short_run
from tests.support.requirements import skip_unless_required


@pytest.fixture
def server() -> None:
    """Skips without the server or its client library."""
    require_program("nats", Nats(), "nats-server")
    try:
        __import__("nats")
    except ImportError as error:
        skip_unless_required("nats", str(error))


@pytest.mark.slow
def test_a_log_keeps_what_it_acknowledged_while_servers_die(
    server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # fmt: off
    code = short_run(
        tmp_path, "nats", "log", "--nemesis", "kill", "--operation-timeout", "1", "--workload-option",
        "transaction_share=0",
    )
    # fmt: on
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "agree with" in shown


@pytest.mark.slow
def test_reads_of_any_replica_are_refuted_as_linearizable(
    server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way of the client libraries' key-value stores, while a server is cut off from the others."""
    # fmt: off
    code = short_run(
        tmp_path, "nats", "register", "--nemesis", "partition:one", "--operation-timeout", "0.5", "--concurrency", "4n",
        "--system-option", "reads=direct", seconds=6,
    )
    # fmt: on
    shown = capsys.readouterr().out
    assert code == 1, shown
    assert "a stale read" in shown
