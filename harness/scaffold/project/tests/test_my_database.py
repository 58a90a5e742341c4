"""Whether the session is honest, and whether the harness finds what is wrong; about half a minute."""

from pathlib import Path

from harness.cli.app import run

SYSTEM = "my_database.system:MyDatabase"
VALID, INVALID = 0, 1


def a_run(folder: Path, *more: str) -> int:
    """The exit code of a short run."""
    words = ["test", "--system", SYSTEM, "--workload", "register", "--seed", "1", "--time-limit", "4"]
    return run([*words, *more, "--runs-dir", str(folder)])


def test_the_session_says_what_became_of_each_call(tmp_path: Path) -> None:
    words = ["verify-system", SYSTEM, "--nodes", "1", "--patience", "0.3", "--runs-dir", str(tmp_path)]
    assert run(words) == VALID


def test_it_is_linearizable_while_its_nodes_die(tmp_path: Path) -> None:
    assert a_run(tmp_path, "--nemesis", "kill") == VALID


def test_what_is_acknowledged_early_is_lost(tmp_path: Path) -> None:
    """A test of the test: remove it with the toy, or give it a bug of your own to find."""
    assert a_run(tmp_path, "--nemesis", "kill@n1", "--system-option", "acknowledge=early") == INVALID
