"""What the supervisor stops, resumes and kills are all processes of a node, also those in sessions of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from harness.environments.processes import process_state
from harness.environments.supervisor import descendants_of, signal_tree
from tests.support.processes import wait_until

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere nobody tells of children"
)


def have_left(node: int) -> list[int]:
    """The descendants that are in another session by now."""
    return [pid for pid in descendants_of(node) if os.getsid(pid) != os.getsid(node)]


def test_a_process_in_a_session_of_its_own_shares_the_fate_of_its_node() -> None:
    """As PostgreSQL's: a server process that left its session went on answering while its node was paused."""
    script = "setsid sleep 60 & setsid sh -c 'sleep 61 & wait' & wait"
    node = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        wait_until(lambda: len(have_left(node.pid)) == 3, 30, "three have left the session")
        others = sorted(descendants_of(node.pid))

        signal_tree(node.pid, signal.SIGSTOP)
        whole = (node.pid, *others)
        wait_until(lambda: [process_state(pid) for pid in whole] == ["T"] * 4, 30, "all stand still")
        signal_tree(node.pid, signal.SIGCONT)
        wait_until(lambda: "T" not in [process_state(pid) for pid in whole], 30, "all go on")
        signal_tree(node.pid, signal.SIGKILL)
        assert node.wait(30) == -signal.SIGKILL
        wait_until(lambda: all(process_state(pid) in (None, "Z") for pid in others), 30, "all are gone")
    finally:
        node.kill()


def test_a_request_to_end_is_for_the_node_to_pass_on() -> None:
    node = subprocess.Popen(["sh", "-c", "setsid sleep 60 & wait"], start_new_session=True)
    try:
        wait_until(lambda: len(have_left(node.pid)) == 1, 30, "one has left the session")
        (other,) = descendants_of(node.pid)
        signal_tree(node.pid, signal.SIGTERM)
        assert node.wait(30) == -signal.SIGTERM
        assert process_state(other) not in (None, "Z")
        os.kill(other, signal.SIGKILL)
    finally:
        node.kill()
