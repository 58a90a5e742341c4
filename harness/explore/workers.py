"""Where the seeds of a sweep run: processes of this machine, or a Dask cluster, both as executors.

A worker process is started afresh (`spawn`), loads everything once, leaves Ctrl-C to the sweep, and ends when the sweep
is gone, also after its `kill -9`.
"""

from __future__ import annotations

import io
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec

from harness.environments.environment import EnvironmentFailed
from harness.explore.sweep import Delivered
from harness.explore.sweep_folder import SweepPlan, run_name, scenario_of
from harness.explore.trial import (
    CPU_LIMIT_S,
    FAILED,
    HARNESS_FAILED_EXIT,
    TrialRequest,
    TrialResult,
    run_trial,
)
from harness.scenario import ScenarioError
from results.run_folder import RunFolder

CONNECT_TIMEOUT_S = 10.0
ORPHAN_TIMEOUT_S = 30.0
"""How long a worker may take to see that its sweep was killed."""

RunSeed = Callable[[int], Delivered]


class SeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Runs one seed of a plan; a plain value that can be sent anywhere."""

    plan: SweepPlan
    folder: str | None
    """Where run folders are kept; None: pack them into what is handed back."""
    keep_valid: bool = False
    cpu_limit_s: float = CPU_LIMIT_S

    def __call__(self, seed: int) -> Delivered:
        """The seed's result; never raises for what goes wrong in its run."""
        if self.folder is not None:
            return Delivered(self._run(seed, Path(self.folder)))
        with tempfile.TemporaryDirectory(prefix="harness-seed-") as scratch:
            result = self._run(seed, Path(scratch))
            return Delivered(result, None if result.folder is None else pack(Path(result.folder)))

    def _run(self, seed: int, folder: Path) -> TrialResult:
        try:
            scenario = scenario_of(self.plan, seed)
        except Exception as error:  # noqa: BLE001 - a seed that draws nonsense is listed like any that fails.
            return TrialResult(
                seed=seed,
                outcome=FAILED,
                exit_code=HARNESS_FAILED_EXIT,
                sentence=f"no scenario: {type(error).__name__}: {error}",
                command="",
            )
        clear_away(RunFolder(folder / run_name(seed)))
        return run_trial(
            TrialRequest(scenario=scenario),
            folder,
            "always" if self.keep_valid else "failures",
            name=run_name(seed),
            cpu_limit_s=self.cpu_limit_s,
        )


def clear_away(left_over: RunFolder) -> None:
    """Removes the run folder of a seed whose sweep was killed before it wrote the result, whatever is in it.

    A worker of that sweep may still be at it: it ends by itself, as soon as it sees that its sweep is gone.
    """
    give_up = time.monotonic() + ORPHAN_TIMEOUT_S
    while left_over.running() is not None and time.monotonic() < give_up:
        time.sleep(0.05)
    if left_over.running() is None and left_over.path.exists():
        shutil.rmtree(left_over.path)


def pack(folder: Path) -> bytes:
    """A run folder as one piece."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as archive:
        archive.add(folder, arcname=folder.name)
    return buffer.getvalue()


def unpack(delivered: Delivered, root: Path) -> TrialResult:
    """Puts a packed run folder where it belongs, and says so in the result."""
    if delivered.archive is None or delivered.result.folder is None:
        return delivered.result
    target = root / Path(delivered.result.folder).name
    if target.exists():
        shutil.rmtree(target)
    with tarfile.open(fileobj=io.BytesIO(delivered.archive)) as archive:
        archive.extractall(root, filter="data")
    return msgspec.structs.replace(delivered.result, folder=str(target))


class ProcessWorkers:
    """Processes of this machine."""

    def __init__(self, run: RunSeed, jobs: int) -> None:
        self._run = run
        self._jobs = jobs
        self._others: set[BaseProcess] = set(multiprocessing.active_children())
        self._scratch = tempfile.TemporaryDirectory(prefix="harness-sweep-")
        self._no_more = Path(self._scratch.name, "begin-no-more")
        """Once this file is there, workers begin nothing more: an executor keeps some seeds ready that it does not let
        go of again."""
        self._executor = self._make()

    @property
    def jobs(self) -> int:
        return self._jobs

    def submit(self, seed: int) -> Future[Delivered | None]:
        """See `sweep.Workers`."""
        return self._executor.submit(run_unless, str(self._no_more), self._run, seed)

    def begin_no_more(self) -> None:
        """See `sweep.Workers`."""
        self._no_more.touch()

    def renew(self) -> None:
        """See `sweep.Workers`."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._make()

    def end(self, *, at_once: bool = False) -> None:
        """Ends the processes; at once: whatever they do."""
        if at_once:
            _end_processes(self._others)
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._scratch.cleanup()

    def _make(self) -> ProcessPoolExecutor:
        return make_pool(self._jobs)


def run_unless(no_more: str, run: RunSeed, seed: int) -> Delivered | None:
    """In a worker process: what came of the seed; None if the sweep has asked meanwhile that nothing more begins."""
    return None if os.path.exists(no_more) else run(seed)


def make_pool(jobs: int) -> ProcessPoolExecutor:
    """Worker processes for trials; see the rules above."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=begin_worker)


def begin_worker() -> None:
    """Once in each worker process: signals, and the watch on the sweep. Everything was loaded to find this function."""
    # Ctrl-C reaches the whole process group of a terminal; the sweep decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent watch", daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(HARNESS_FAILED_EXIT)


class DaskWorkers:
    """Workers of a Dask cluster, through its executor."""

    def __init__(self, run: RunSeed, client: Any, jobs: int) -> None:
        self._run = run
        self._client = client
        self._jobs = jobs
        self._executor: Executor = client.get_executor(pure=False)

    @property
    def jobs(self) -> int:
        return self._jobs

    def submit(self, seed: int) -> Future[Delivered | None]:
        """See `sweep.Workers`."""
        return self._executor.submit(self._run, seed)

    def begin_no_more(self) -> None:
        """See `sweep.Workers`. Dask cancels what is not begun."""

    def renew(self) -> None:
        """See `sweep.Workers`. Dask starts workers again itself."""

    def end(self, *, at_once: bool = False) -> None:
        """Lets go of the cluster; at once: what is under way there is cancelled."""
        self._executor.shutdown(wait=not at_once)
        self._client.close()


ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""A worker has one core; libraries that start a thread for each core of the machine get in each other's way."""


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started in the block see `ONE_THREAD` set."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update({name: "1" for name in ONE_THREAD})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def process_workers(run: RunSeed, jobs: int) -> Iterator[ProcessWorkers]:
    """Processes for as long as the block runs; an exception in it, also Ctrl-C, ends them at once."""
    with _one_thread_each():
        workers = ProcessWorkers(run, jobs)
        try:
            yield workers
        except BaseException:
            workers.end(at_once=True)
            raise
        workers.end()


@contextmanager
def process_pool(jobs: int) -> Iterator[Executor]:
    """An executor of worker processes for trials, for as long as the block runs."""
    others: set[BaseProcess] = set(multiprocessing.active_children())
    with _one_thread_each():
        pool = make_pool(jobs)
        try:
            yield pool
        except BaseException:
            _end_processes(others)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_processes(others: set[BaseProcess]) -> None:
    """Ends the child processes that are not among the others, whatever they do."""
    for process in set(multiprocessing.active_children()) - others:
        process.terminate()


@contextmanager
def dask_workers(run: RunSeed, address: str, code: str) -> Iterator[DaskWorkers]:
    """The workers of the Dask cluster whose scheduler is at `address`, for as long as the block runs.

    Raises EnvironmentFailed if `distributed` is not installed, nobody answers, there is no worker, or workers run
    other code than ours (`code` is its digest); ScenarioError for an address that is none.
    """
    client = _connect(address)
    try:
        _check_code(client, address, code)
        jobs = len(client.nthreads())
        workers = DaskWorkers(run, client, jobs)
    except BaseException:
        client.close()
        raise
    try:
        yield workers
    except BaseException:
        workers.end(at_once=True)
        raise
    workers.end()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise EnvironmentFailed(
            f"--scheduler {address} needs the library `distributed`, which is not installed; "
            "`pip install 'multiraft-harness[dask]'`, or leave --scheduler out to use the cores of this machine"
        ) from error
    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        raise EnvironmentFailed(
            f"no Dask scheduler answers at {address} within {CONNECT_TIMEOUT_S:g} s ({error}); start one with "
            "`dask scheduler` and `dask worker`, or leave --scheduler out to use the cores of this machine"
        ) from error
    except ValueError as error:
        raise ScenarioError(f"--scheduler {address}: no address of a Dask scheduler: {error}") from error


def _check_code(client: Any, address: str, code: str) -> None:
    from harness.fingerprint import code_digest

    try:
        answers: dict[str, str] = client.run(code_digest)
    except Exception as error:
        raise EnvironmentFailed(
            f"the workers of {address} cannot load the harness ({type(error).__name__}: {error}); install the same "
            "version there"
        ) from error
    if not answers:
        raise EnvironmentFailed(
            f"the Dask scheduler at {address} has no worker; start some with `dask worker`"
        )
    other = sorted(worker for worker, answer in answers.items() if answer != code)
    if other:
        raise EnvironmentFailed(
            f"{len(other)} of {len(answers)} workers of {address} run other code than this harness ({code}): "
            f"{', '.join(other[:5])}; a seed would be another run there. Install the same version on all"
        )
