"""The run folder: made, found, written whole, claimed by one; and a journal that survives the death of its writer."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from results import run_folder
from results.history import History, HistoryError
from results.operation import Operation
from results.process_identity import identify
from results.run_folder import Journal, JournalError, RunFolder, RunFolderError, list_runs
from results.verdict import VALID, Verdict

NOW = datetime(2026, 11, 23, 18, 0, 10, tzinfo=UTC)


class TestMakingAndFinding:
    def test_a_run_is_named_after_its_time_and_workload(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path / "runs", "bank", now=NOW)
        assert folder.id == "20261123T180010Z-bank"
        assert (tmp_path / "runs" / "latest").resolve() == folder.path.resolve()

    def test_runs_of_the_same_second_are_told_apart(self, tmp_path: Path) -> None:
        ids = [RunFolder.create(tmp_path, "bank", now=NOW).id for _ in range(3)]
        assert ids == ["20261123T180010Z-bank", "20261123T180010Z-bank-2", "20261123T180010Z-bank-3"]
        assert [run.id for run in list_runs(tmp_path)] == ids
        assert (tmp_path / "latest").resolve().name == ids[-1]

    def test_a_name_cannot_lead_out_of_the_folder(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "../../etc/x y", now=NOW)
        assert folder.path.parent == tmp_path
        assert folder.node_dir("../n1").parent == folder.nodes_path

    def test_runs_are_found_by_path_and_as_the_latest(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "set", now=NOW)
        folder.write_scenario("seed = 1\n")
        for path in (folder.path, tmp_path / "latest", str(folder.path)):
            assert RunFolder.open(path).id == folder.id
        assert RunFolder.open("latest", root=tmp_path).id == folder.id

    def test_what_is_no_run_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match="no run yet"):
            RunFolder.open("latest", root=tmp_path)
        with pytest.raises(RunFolderError, match="no such folder"):
            RunFolder.open(tmp_path / "nowhere")
        RunFolder.create(tmp_path, "set").write_scenario("seed = 1\n")
        with pytest.raises(RunFolderError, match=r"did you mean .*/latest\?"):
            RunFolder.open(tmp_path)

    def test_a_place_that_cannot_hold_runs(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        with pytest.raises(RunFolderError, match="it is a file, not a folder"):
            RunFolder.create(tmp_path / "runs", "bank")

    def test_no_runs_at_all(self, tmp_path: Path) -> None:
        assert list_runs(tmp_path / "nowhere") == []


class TestContents:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        folder.write_scenario('workload = "bank"\nseed = 7\n')
        folder.write_schedule([{"id": 1, "fault": "kill"}, {"id": 2, "fault": "pause"}])
        folder.write_environment({"python": "3.11", "where": Path("/x")})
        assert folder.read_verdict() is None
        folder.write_verdict(Verdict(VALID, "all", "fine"))
        folder.node_dir("n2")
        folder.node_dir("n1")
        again = RunFolder.open(folder.path)
        assert again.read_scenario() == {"workload": "bank", "seed": 7}
        assert [step["fault"] for step in again.read_schedule()] == ["kill", "pause"]
        assert again.read_environment()["python"] == "3.11"
        assert again.read_verdict() == Verdict(VALID, "all", "fine")
        assert again.node_names() == ["n1", "n2"]
        assert not [path for path in folder.path.iterdir() if path.name.startswith(".")]

    def test_a_scenario_that_nobody_could_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="line 1"):
            RunFolder.create(tmp_path, "bank").write_scenario("not toml")

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank", now=NOW)
        with pytest.raises(RunFolderError, match=r"20261123T180010Z-bank has no history\.jsonl"):
            folder.read_history()


class TestClaims:
    def test_a_run_in_progress_is_known_to_be_live(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        assert folder.running() is None
        folder.claim(now=NOW)
        running = RunFolder.open(folder.path).running()
        assert running is not None
        assert (running.pid, running.began) == (os.getpid(), "2026-11-23T18:00:10+00:00")
        folder.claim()
        folder.release()
        assert folder.running() is None

    def test_another_live_process_keeps_its_run(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            identity = identify(other.pid)
            assert identity is not None
            claim = {"pid": other.pid, "process_start": identity.started, "began": "then"}
            folder.running_path.write_text(json.dumps(claim))
            with pytest.raises(RunFolderError, match=f"in progress .process {other.pid}, since then"):
                folder.claim()
            other.kill()
        assert folder.running() is None
        assert folder.claimed() is not None
        folder.claim()

    def test_a_later_process_with_the_same_number_is_another(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        claim = {"pid": os.getpid(), "process_start": "long ago", "began": "then"}
        folder.running_path.write_text(json.dumps(claim))
        assert folder.running() is None

    def test_a_torn_claim_is_nobody_s(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        folder.running_path.write_text('{"pid": 1')
        assert folder.claimed() is None


def event(index: int, process: int = 0, type_: str = "invoke", value: object = None) -> Operation:
    return Operation(index, index * 10, process, type_, "write", value)


class TestJournal:
    def test_what_is_committed_can_be_read_while_the_run_goes_on(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        with folder.journal() as journal:
            journal.record(event(0))
            assert len(folder.read_history()) == 0
            journal.commit()
            assert len(folder.read_history()) == 1
            journal.record_fields(1, 5, 0, "ok", "write", [1, 2])
        history = folder.read_history()
        assert journal.committed == 2
        assert history.pairs()[0].completion == Operation(1, 5, 0, "ok", "write", [1, 2])

    def test_a_commit_is_one_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        journal = Journal(tmp_path / "history.jsonl")
        writes: list[bytes] = []
        real = os.write
        monkeypatch.setattr(
            run_folder.os, "write", lambda file, data: (writes.append(data), real(file, data))[1]
        )
        for process in range(100):
            journal.record(event(process, process))
        journal.commit()
        journal.commit()
        assert len(writes) == 1
        assert writes[0].count(b"\n") == 100
        journal.close()

    def test_nonsense_is_refused_and_leaves_no_trace(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "history.jsonl") as journal:
            journal.record(event(0))
            with pytest.raises(HistoryError, match="still open"):
                journal.record(event(1))
            journal.record(event(1, process=1))
        assert len(History.load(journal.path)) == 2

    def test_a_history_is_written_once(self, tmp_path: Path) -> None:
        folder = RunFolder.create(tmp_path, "bank")
        folder.journal().close()
        with pytest.raises(RunFolderError, match="written once"):
            folder.journal()

    def test_a_value_that_json_cannot_carry_is_named_and_loses_no_other(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "history.jsonl")
        journal.record(event(0))
        journal.record(event(1, process=1, value=object))
        journal.record(event(2, process=2))
        with pytest.raises(
            TypeError, match=r"event 1 \(invoke write of process 1\) has a value that JSON cannot"
        ):
            journal.commit()
        journal.close()
        assert [o.value for o in History.load(journal.path).operations] == [None, "<class 'object'>", None]

    def test_a_full_disk_is_said_clearly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk takes a part of the second commit, then nothing more: what was there before stays readable."""
        journal = Journal(tmp_path / "history.jsonl")
        journal.record(event(0))
        journal.commit()
        real = os.write
        room = [20]

        def write(file: int, data: bytes) -> int:
            taken = min(room[0], len(data))
            room[0] -= taken
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, data[:taken])

        monkeypatch.setattr(run_folder.os, "write", write)
        journal.record(event(1, process=1))
        with pytest.raises(JournalError, match=r"the disk is full\. The first 1 events are safe"):
            journal.commit()
        history = History.load(journal.path)
        assert len(history) == 1
        assert history.torn is not None

    def test_after_close_nothing_is_taken_silently(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "history.jsonl")
        journal.close()
        journal.close()
        journal.record(event(0))
        with pytest.raises(JournalError, match="closed; 1 events came too late"):
            journal.commit()


WRITER = """
import sys
from pathlib import Path
from results.operation import Operation
from results.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
folder.claim()
journal = folder.journal()
index = 0
while True:
    for type_ in ("invoke", "ok"):
        for process in range(10):
            journal.record(Operation(index, index, process, type_, "write", "x" * 50))
            index += 1
        journal.commit()
        if index % 2000 == 0:
            print(index, flush=True)
"""


@pytest.mark.parametrize("torn", [False, True], ids=["killed", "killed, and its last line torn"])
def test_a_history_survives_the_kill_of_its_writer(tmp_path: Path, torn: bool) -> None:
    """Kill -9 in the middle of writing: all that was said to be committed is there, and the rest makes sense."""
    folder = RunFolder.create(tmp_path, "register")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(folder.path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path) as writer:
        assert writer.stdout is not None
        committed = [int(writer.stdout.readline()) for _ in range(5)][-1]
        running = folder.running()
        assert running is not None
        assert running.pid == writer.pid
        os.kill(writer.pid, signal.SIGKILL)
    if torn:
        os.truncate(folder.history_path, folder.history_path.stat().st_size - 7)
    history = folder.read_history()
    assert len(history) >= committed - torn  # The test itself tore one line off.
    assert (history.torn is not None) == torn
    assert {pair.type for pair in history.pairs()} <= {"ok", "info"}
    assert all(pair.type == "ok" for pair in history.pairs()[: committed // 2 - 1])
    assert folder.running() is None


def test_recording_is_fast_enough_for_eighty_thousand_operations_a_second(tmp_path: Path) -> None:
    """Aimed at is 1.5 µs of processor time an event; the bound is loose, for machines under load."""
    events = [
        event(i, process=i % 10, type_="invoke" if i % 20 < 10 else "ok", value=["k1", 5])
        for i in range(40_000)
    ]
    best = float("inf")
    for attempt in range(3):
        with Journal(tmp_path / f"{attempt}.jsonl") as journal:
            started = time.process_time()
            for position, operation in enumerate(events):
                journal.record(operation)
                if position % 10 == 9:
                    journal.commit()
            best = min(best, time.process_time() - started)
    assert best / len(events) < 6e-6
