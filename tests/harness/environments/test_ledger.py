"""The ledger: written before the act, readable after a crash, healed any number of times, harmless to strangers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Ledger, heal, read_ledger
from harness.environments.processes import (
    TOKEN_VARIABLE,
    ProcessIdentity,
    identify,
    is_running,
    process_state,
)
from nemesis.cluster import HealReport

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def write_as_dead_harness(path: Path) -> None:
    """Let the header name a process that is gone, as after a kill -9."""
    first, *rest = path.read_bytes().split(b"\n")
    header = msgspec.json.decode(first)
    header["header"]["started"] = "another boot:1"
    path.write_bytes(b"\n".join([msgspec.json.encode(header), *rest]))


def sleeper(token: str | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **({TOKEN_VARIABLE: token} if token else {})}
    process = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def gone(process: subprocess.Popen[bytes]) -> bool:
    process.wait(60)
    return process.returncode == -9


def test_what_is_open_is_what_was_not_done(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    one = ledger.intend("process", name="n1")
    two = ledger.intend("links", link="n1 -> n2")
    ledger.note(one, pid=5, started="x")
    ledger.done(two)
    ledger.done(two)
    content = read_ledger(ledger.path)
    assert [(entry.id, entry.kind, entry.undo) for entry in content.open_entries] == [
        (one, "process", {"name": "n1", "pid": 5, "started": "x"})
    ]
    assert content.header.pid == os.getpid()
    assert ledger.open_entries == (one,)
    ledger.close()
    with pytest.raises(EnvironmentFailed, match="is closed"):
        ledger.intend("process")


def test_the_intent_is_on_disk_before_the_act(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.intend("links", link="n1 -> n2")
    assert b"n1 -> n2" in ledger.path.read_bytes(), "without closing or flushing anything"


def test_a_torn_last_line_is_tolerated_and_healed_away(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.intend("links", link="n1 -> n2")
    with ledger.path.open("ab") as file:
        file.write(b'{"open":{"id":2,"ki')
    assert read_ledger(ledger.path).torn
    write_as_dead_harness(ledger.path)
    assert heal(tmp_path).failed == ()
    assert not read_ledger(ledger.path).torn
    assert read_ledger(ledger.path).open_entries == []
    assert heal(tmp_path) == HealReport()


def test_a_damaged_ledger_is_an_error_with_its_line(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    with ledger.path.open("ab") as file:
        file.write(b"what?\n{}\n")
    with pytest.raises(EnvironmentFailed, match="line 2: not a line of a ledger"):
        read_ledger(ledger.path)


def test_healing_ends_processes_of_a_dead_harness_once(tmp_path: Path) -> None:
    process = sleeper()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    identity = identify(process.pid)
    assert identity is not None
    ledger.note(ledger.intend("process", name="n1"), pid=identity.pid, started=identity.started)
    write_as_dead_harness(ledger.path)

    first = heal(tmp_path)

    assert gone(process)
    assert first == HealReport((f"ended n1 (process {process.pid})",), ())
    assert heal(tmp_path) == HealReport((), ())
    assert read_ledger(ledger.path).open_entries == []


def test_healing_spares_a_stranger_with_the_same_pid(tmp_path: Path) -> None:
    """The node is gone, and its pid now belongs to somebody else: the start time tells them apart."""
    stranger = sleeper()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.note(ledger.intend("process", name="n1"), pid=stranger.pid, started="another start")
    write_as_dead_harness(ledger.path)
    assert heal(tmp_path) == HealReport((), ())
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_healing_finds_a_process_whose_pid_was_never_noted(tmp_path: Path) -> None:
    """The harness died between the start of a process and writing down its pid: the token finds it."""
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.intend("process", name="n1")
    process = sleeper(ledger.header.token)
    write_as_dead_harness(ledger.path)
    report = heal(tmp_path)
    assert gone(process)
    assert report.failed == ()
    assert "carried the token" in report.healed[0]


def test_healing_sets_clock_files_right(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    write_clock(clock, ClockSetting(5_000_000_000, 0, 0))
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.intend("clock", path=str(clock))
    ledger.intend("clock", path=str(tmp_path / "deleted"))
    write_as_dead_harness(ledger.path)
    assert heal(tmp_path).healed == (f"{clock} shows real time again",)
    assert read_clock(clock) == REAL_TIME


def test_one_entry_that_cannot_be_undone_does_not_keep_the_others(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    write_clock(clock, ClockSetting(5, 0, 0))
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    ledger.intend("clock", path=str(clock))
    ledger.intend("volcano", name="n1")
    write_as_dead_harness(ledger.path)
    report = heal(tmp_path)
    assert len(report.healed) == 1
    assert "no undo for kind 'volcano'" in report.failed[0]
    assert [entry.kind for entry in read_ledger(ledger.path).open_entries] == ["volcano"]


def test_a_run_in_progress_is_not_healed_away(tmp_path: Path) -> None:
    other = sleeper()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    identity = identify(other.pid)
    assert identity is not None
    first, *rest = ledger.path.read_bytes().split(b"\n")
    header = msgspec.json.decode(first)
    header["header"] |= {"pid": identity.pid, "started": identity.started}
    ledger.path.write_bytes(b"\n".join([msgspec.json.encode(header), *rest]))
    with pytest.raises(EnvironmentFailed, match=r"is in progress .*Ctrl-C"):
        heal(tmp_path)
    other.kill()
    other.wait()
    assert heal(tmp_path) == HealReport()


def test_without_a_ledger_there_is_nothing_to_heal(tmp_path: Path) -> None:
    assert heal(tmp_path) == HealReport()


def test_a_ledger_with_open_entries_is_not_overwritten(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", "local")
    entry = ledger.intend("links", link="n1 -> n2")
    with pytest.raises(EnvironmentFailed, match="never undone; run 'harness heal"):
        Ledger.create(ledger.path, "local")
    ledger.done(entry)
    Ledger.create(ledger.path, "local")


@pytest.mark.parametrize("source", ["proc", "ps"])
def test_a_process_is_known_by_its_start_and_a_zombie_does_not_run(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux reads /proc, macOS asks ps; both must tell the same story."""
    if source == "ps":
        monkeypatch.setattr("results.process_identity._LINUX", False)
    elif not sys.platform.startswith("linux"):
        pytest.skip("there is no /proc here")
    process = sleeper()
    identity = identify(process.pid)
    assert identity is not None
    assert is_running(identity)
    assert not is_running(ProcessIdentity(process.pid, "another start"))
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert process_state(process.pid) == "T"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(identity), "it is a zombie until we take its exit"
    process.wait()
    assert identify(process.pid) is None
    assert process_state(process.pid) is None
