"""What runs have left on this machine, found without knowing where they were: by variables, labels, and mounts.

Every process of a run carries the path of its ledger, every container and network the run folder, and layers of disks
are mounted inside of it. So whoever looks finds the ledger, and undoes what it lists; where the folder is gone, what is
left is ended by itself. Runs whose harness lives are left alone, and so are clusters that were kept running on purpose.
A machine may also be a host of runs whose harness is elsewhere (`ssh`): their ledger is not here, but processes that
carry their token show whether they are in progress.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.environments.disks.mounts import TABLE, mounts_of, unmount
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import FILE_NAME, heal, read_ledger
from harness.environments.processes import (
    LEDGER_VARIABLE,
    TOKEN_VARIABLE,
    ProcessIdentity,
    end_process,
    is_running,
    processes_with_variable,
)
from nemesis.cluster import HealReport

FILE_SYSTEM = "multiraft-harness"
"""What the table of mounts calls the layers of disks."""
NODES = "nodes"
"""The folder of a run in which those of its nodes are."""


@dataclass
class Leftovers:
    """What was found, by run folder. A folder may be gone."""

    processes: dict[Path, list[ProcessIdentity]] = field(default_factory=lambda: defaultdict(list))
    mounts: dict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    engine: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Keys of runs that have containers or networks."""
    guests: set[Path] = field(default_factory=set)
    """Folders of runs in progress to which this machine is a host."""
    problems: list[str] = field(default_factory=list)
    """What could not be looked at, and why."""

    @property
    def folders(self) -> list[Path]:
        return sorted({*self.processes, *self.mounts, *self.engine})


def find_leftovers() -> Leftovers:
    """Looks at this machine's processes, mounts and Docker engine (one that does not answer has nothing)."""
    found = Leftovers()
    for process, ledger in processes_with_variable(LEDGER_VARIABLE):
        found.processes[Path(ledger).parent].append(process)
    if TABLE.exists():
        for point in mounts_of(TABLE.read_text(), FILE_SYSTEM):
            found.mounts[run_folder(point)].append(point)
        tokens = [token for _, token in processes_with_variable(TOKEN_VARIABLE)]
        found.guests = {
            folder
            for folder in found.mounts
            if not (folder / FILE_NAME).is_file()
            and any(token.startswith(folder.name) for token in tokens if folder.name)
        }
    from harness.environments.docker.engine import FOLDER_LABEL, RUN_LABEL, connect

    try:
        engine = connect(5)
    except EnvironmentFailed:
        return found
    try:
        having = {"label": RUN_LABEL}
        things = [*engine.api.containers(all=True, filters=having), *engine.api.networks(filters=having)]
        for thing in things:
            labels = thing["Labels"]
            found.engine[Path(labels[FOLDER_LABEL])].add(labels[RUN_LABEL])
    except Exception as error:  # noqa: BLE001 - whatever the engine's client raises, the rest is pruned all the same
        found.problems.append(f"the Docker engine could not be looked at: {error}")
    finally:
        engine.close()
    return found


def run_folder(point: Path) -> Path:
    """Whose run a layer of disks belongs to: it is mounted over `<run folder>/nodes/<name>/data` here, and over
    `<folder of the run, by its token>/<name>/data` on a host.

    Never a folder below the mount: nobody may answer there any more.
    """
    above = point.parents
    return above[2] if len(above) > 2 and above[1].name == NODES else above[min(1, len(above) - 1)]


def prune(folders: Iterable[Path] = (), kept: bool = False) -> tuple[dict[Path, HealReport], dict[Path, str]]:
    """Undoes what is left of dead runs: those found on this machine, and those in these folders.

    `kept`: clusters that were kept running are ended as well. Answers a report by run folder (only where something was
    done or failed), and why others were left alone.
    """
    found = find_leftovers()
    reports: dict[Path, HealReport] = {}
    left_alone: dict[Path, str] = {}
    for folder in sorted({*found.folders, *(one.resolve() for one in folders)}):
        ledger = folder / FILE_NAME
        if ledger.is_file():
            content = read_ledger(ledger)
            header = content.header
            if content.detached and not kept and folder in found.folders:
                left_alone[folder] = "it was kept running on purpose"
                continue
            if is_running(ProcessIdentity(header.pid, header.started)) and not content.detached:
                left_alone[folder] = f"in progress (process {header.pid})"
                continue
            report = heal(folder)
        elif folder in found.guests:
            left_alone[folder] = "in progress, for a harness elsewhere"
            continue
        else:
            report = _end_without_ledger(folder, found)
        if report.healed or report.failed:
            reports[folder] = report
    if found.problems:
        reports[Path()] = HealReport((), tuple(found.problems))
    return reports, left_alone


def _end_without_ledger(folder: Path, found: Leftovers) -> HealReport:
    """The run folder is gone, or never had a ledger: everything that names it is ended."""
    healed: list[str] = []
    failed: list[str] = []
    for process in found.processes.get(folder, ()):
        (healed if end_process(process) else failed).append(f"process {process.pid} of a run that is gone")
    for point in found.mounts.get(folder, ()):
        try:
            if unmount(point):
                healed.append(f"unmounted {point}")
        except OSError as error:
            failed.append(str(error))
    if found.engine.get(folder):
        from harness.environments.docker.engine import connect, remove_run

        engine = connect()
        try:
            for key in sorted(found.engine[folder]):
                healed += [f"removed {thing}" for thing in remove_run(engine.api, key)]
        except EnvironmentFailed as error:
            failed.append(str(error))
        finally:
            engine.close()
    return HealReport(tuple(healed), tuple(failed))
