"""Generated files are read back as the histories that they were made from."""

import json
import subprocess
import sys

import pytest

from checkers.synthetic import formats
from checkers.synthetic.__main__ import main
from checkers.synthetic.histories import history_of
from checkers.synthetic.objects import ObjectShape, run_object
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results.history import History
from results.interchange import jepsen
from results.operation import decode_lines

HISTORIES = {
    "transactions": history_of(
        run_store(Shape(60, crash_share=0.1, abort_share=0.1), "snapshot-isolation", 1)
    ),
    "texts": run_object(ObjectShape("kv", 60, keys=2, crash_share=0.1), 1).history(),
    "sets": run_object(ObjectShape("set", 60), 1).history(),
}


def spelt(history):
    return [(event.process, event.type, event.f, event.value) for event in history.operations]


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_any_history_is_read_back(history):
    assert spelt(jepsen.read(formats.edn(history))) == spelt(history)
    assert spelt(jepsen.read(formats.json_list(history))) == spelt(history)
    assert History(decode_lines(formats.json_lines(history).encode())).operations == history.operations


@pytest.mark.parametrize("kind", ["list-append", "rw-register"])
def test_lines_made_of_columns_are_those_of_the_history(kind):
    made = run_store(Shape(80, kind=kind, crash_share=0.1, abort_share=0.1), "prefix", 1)
    history = history_of(made)
    assert "".join(formats.transaction_lines(made, "edn")) == formats.edn(history)
    assert "".join(formats.transaction_lines(made, "jsonl")) == formats.json_lines(history)


def test_transactions_on_registers_as_texts():
    """Only what happened is in them; absent registers read what the initial transaction wrote."""
    made = run_store(Shape(40, kind="rw-register", crash_share=0.2, abort_share=0.2), "serializable", 3)
    columns = made.transactions
    text = formats.awdit(made)
    transactions = [part for session in text.split("=====") for part in session.split("-----")]
    ok = int((columns.outcome == 1).sum())
    assert 1 + ok <= len(transactions) <= 1 + ok + int((columns.outcome == 3).sum())
    steps = text.replace("=====", "").replace("-----", "").split("\n")
    written = {tuple(step.split()[1:]) for step in steps if step.startswith("w")}
    assert all(tuple(step.split()[1:]) in written for step in steps if step.startswith("r"))
    lines = formats.isovista(made).splitlines()
    assert len(lines) == sum(bool(step) for step in steps)
    with pytest.raises(ValueError, match="only transactions on registers"):
        formats.awdit(run_store(Shape(5)))


def test_the_command_line(capsys):
    assert main(["--transactions", "5", "--story", "lost-update", "--seed", "7", "--format", "edn"]) == 0
    written = capsys.readouterr()
    assert len(jepsen.read(written.out).pairs()) == 9
    certain = json.loads(written.err)
    assert certain["anomalies"] == ["lost-update"]
    assert "serializable" in certain["violates"]
    assert "causal" in certain["satisfies"]
    assert main(["--model", "queue", "--break", "reordered", "--operations", "500"]) == 0
    assert json.loads(capsys.readouterr().err)["linearizable"] is False
    assert main(["--model", "queue", "--break", "stale-read"]) == 2
    assert "no way to break a queue" in capsys.readouterr().err
    assert main(["--model", "queue", "--format", "awdit"]) == 2


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "checkers.synthetic", "--transactions", "2"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
