"""Seeds that do something to the process which runs them; to be run by workers.

As a program it sweeps such seeds: `python -m tests.harness.explore.seeds_that FOLDER`, to be killed from outside.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from harness.explore.sweep import Delivered, Stop, Sweep, Tally
from harness.explore.sweep_folder import SweepFolder, SweepPlan
from harness.explore.trial import TrialResult
from harness.explore.workers import pack, process_workers
from tests.harness.explore.fakes import result

ENDS_ITS_PROCESS = 13
RAISES = 17


def work(seed: int) -> Delivered:
    """Says in its result which process ran it."""
    if seed == ENDS_ITS_PROCESS:
        os._exit(9)
    if seed == RAISES:
        raise ValueError(f"seed {seed} cannot be sent back")
    return Delivered(result(seed, sentence=f"process {os.getpid()}"))


def interrupted(seed: int) -> Delivered:
    """Its process is sent Ctrl-C, as all of a terminal's are."""
    os.kill(os.getpid(), signal.SIGINT)
    return work(seed)


def brings_a_folder(seed: int) -> Delivered:
    """A run folder on another machine."""
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = Path(elsewhere, f"seed-{seed}")
        folder.mkdir()
        (folder / "history.jsonl").write_text(f"the history of {seed}")
        return Delivered(result(seed, "invalid", folder=str(folder)), pack(folder))


def slow(seed: int) -> Delivered:
    """Long enough that somebody can kill the sweep while it runs."""
    time.sleep(0.05)
    return work(seed)


class Announcer:
    """Prints what seeds say, once."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def took(self, result: TrialResult, tally: Tally) -> None:
        if result.sentence not in self.said:
            self.said.add(result.sentence)
            print(result.sentence, flush=True)

    def refresh(self, tally: Tally) -> None:
        pass


def main(folder: Path) -> None:
    """A sweep of slow seeds in a new folder, which prints the processes of its workers."""
    plan = SweepPlan(seeds="100-100000", given={"workload": "bank"}, code="c")
    with SweepFolder.create(folder, plan) as sweep_folder, process_workers(slow, 2) as workers:
        Sweep(workers, sweep_folder, count(100), Tally()).run(Stop(), Announcer())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
