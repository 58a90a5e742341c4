"""Many seeds on many workers: which runs next, what came of each, when it is enough.

Rules that live here:
- A seed is handed out when a worker will soon want it and not before: at any moment few are under way, so a sweep of
  millions costs no more memory than one of ten, and stopping is quick.
- What came of a seed is written before anybody hears of it.
- A worker that ends suddenly takes others' seeds with it. Those run again, one at a time, so that the blame falls on
  the one that did it: it is listed as a failure of the harness. Not once the sweep was asked to stop: a signal that
  reaches the whole process group ends workers, too, and a seed that they had is left for the next time.
- The worst outcome is the sweep's: invalid beats a harness that failed, which beats unknown, which beats valid. A seed
  that proved nothing is unknown. A sweep that was stopped before its end is unknown at best.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from typing import Final, Protocol

import msgspec

from harness.environments.environment import EnvironmentFailed
from harness.explore.trial import FAILED, HARNESS_FAILED_EXIT, TrialResult
from results.verdict import INVALID, UNKNOWN, VALID

COMPLETE: Final = "complete"
FAILURE_FOUND: Final = "failure found"
BUDGET_SPENT: Final = "budget spent"
STOPPED: Final = "stopped"
STOPPED_AT_ONCE: Final = "stopped at once"

OUTCOMES: Final = (VALID, INVALID, UNKNOWN, FAILED)
EXIT_CODES: Final = {VALID: 0, INVALID: 1, UNKNOWN: 3, FAILED: 4}
WORST_LAST: Final = (VALID, UNKNOWN, FAILED, INVALID)

WAKE_S = 0.2
"""How often a sweep that waits looks at the clock and at who wants it to stop."""
QUEUED_PER_WORKER = 2
"""Seeds that wait or run for each worker: one runs, and the next is there when it is done."""


class Delivered(msgspec.Struct, frozen=True):
    """What a worker hands back."""

    result: TrialResult
    archive: bytes | None = None
    """The run folder, packed, where the worker's files are not ours."""


class Workers(Protocol):
    """Where seeds run."""

    @property
    def jobs(self) -> int:
        """How many run at once."""

    def submit(self, seed: int) -> Future[Delivered | None]:
        """Run this seed; None if it was not begun (`begin_no_more`)."""

    def begin_no_more(self) -> None:
        """What is submitted and not begun need not run. Idempotent."""

    def renew(self) -> None:
        """Put new workers in place of those that broke."""


class Sink(Protocol):
    """Where results go (`sweep_folder.SweepFolder` has it)."""

    def append(self, result: TrialResult) -> None:
        """Keep it, safely."""


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def took(self, result: TrialResult, tally: Tally) -> None:
        """A seed is done and written."""

    def refresh(self, tally: Tally) -> None:
        """Time has passed."""


class Stop:
    """Asks a sweep to end: once, to hand out no more seeds; twice, to wait for none."""

    def __init__(self) -> None:
        self.requests = 0

    def request(self) -> None:
        """Another request; may be called from a signal handler."""
        self.requests += 1


class Tally:
    """What is known of the seeds that are done: counts, and in full only those that are not valid."""

    def __init__(self, results: Sequence[TrialResult] | Iterator[TrialResult] = ()) -> None:
        self.outcomes: Counter[str] = Counter()
        self.not_valid: list[TrialResult] = []
        self.seeds_by_mark: Counter[str] = Counter()
        self.times_by_mark: Counter[str] = Counter()
        self.virtual_s = 0.0
        self.cpu_s = 0.0
        self.wall_s = 0.0
        self.events = 0
        self.operations = 0
        self.seeds: set[int] = set()
        for result in results:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """One more seed."""
        assert result.seed not in self.seeds, f"seed {result.seed} was counted before"
        self.seeds.add(result.seed)
        self.outcomes[result.outcome] += 1
        if result.outcome != VALID:
            self.not_valid.append(result)
        for mark, times in result.marks.items():
            if times:
                self.seeds_by_mark[mark] += 1
            self.times_by_mark[mark] += times
        self.virtual_s += result.virtual_s
        self.cpu_s += result.cpu_s
        self.wall_s += result.wall_s
        self.events += result.events
        self.operations += result.operations

    @property
    def done(self) -> int:
        return len(self.seeds)

    def failures(self) -> list[TrialResult]:
        """Seeds at which somebody has to look (invalid, harness failed), the shortest first."""
        return sorted((one for one in self.not_valid if one.is_failure), key=lambda one: one.length)

    def unknowns(self) -> list[TrialResult]:
        """Seeds that proved nothing or could not be decided, the shortest first."""
        return sorted((one for one in self.not_valid if not one.is_failure), key=lambda one: one.length)

    def exit_code(self, end: str) -> int:
        """Of the worst seed; of a sweep that did not reach its end, or had no seed at all, unknown at least."""
        worst = max(self.outcomes, key=WORST_LAST.index, default=UNKNOWN)
        if worst == VALID and end in (STOPPED, STOPPED_AT_ONCE):
            worst = UNKNOWN
        return EXIT_CODES[worst]


class Sweep:
    """Hands out seeds and takes results; see the rules above."""

    def __init__(
        self,
        workers: Workers,
        sink: Sink,
        seeds: Iterator[int],
        tally: Tally,
        *,
        until_failure: bool = False,
        budget_s: float | None = None,
        command_of: Callable[[int], str] = "seed {}".format,
        unpack: Callable[[Delivered], TrialResult] = lambda delivered: delivered.result,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tally` holds what is done already; those seeds are passed over."""
        self.workers = workers
        self.sink = sink
        self.tally = tally
        self._seeds = (seed for seed in seeds if seed not in tally.seeds)
        self._until_failure = until_failure
        self._command_of = command_of
        self._unpack = unpack
        self._clock = clock
        self._give_up_at = None if budget_s is None else clock() + budget_s
        self._pending: dict[Future[Delivered | None], int] = {}
        self._again: deque[int] = deque()
        """Seeds that were under way when a worker broke; they run alone."""
        self._exhausted = False
        self._failure_found = False

    def run(self, stop: Stop, watcher: Watcher) -> str:
        """Runs until there is nothing left to do or somebody says so; answers how it ended.

        Raises EnvironmentFailed when the workers are gone for good.
        """
        while True:
            end = self._why_no_more(stop)
            if end is None:
                self._hand_out()
            else:
                self._take_back()
            if end == STOPPED_AT_ONCE:
                return end
            if not self._pending:
                if end is not None:
                    return end
                if self._exhausted and not self._again:
                    return COMPLETE
                continue
            done, _ = wait(self._pending, timeout=WAKE_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=self._pending.__getitem__):
                if future in self._pending:
                    self._take(future, watcher, stop)
            watcher.refresh(self.tally)

    def _why_no_more(self, stop: Stop) -> str | None:
        if stop.requests >= 2:
            return STOPPED_AT_ONCE
        if stop.requests:
            return STOPPED
        if self._failure_found and self._until_failure:
            return FAILURE_FOUND
        if self._give_up_at is not None and self._clock() >= self._give_up_at:
            return BUDGET_SPENT
        return None

    def _hand_out(self) -> None:
        if self._again:
            if not self._pending:
                self._submit(self._again.popleft())
            return
        most = max(1, self.workers.jobs) * QUEUED_PER_WORKER
        while len(self._pending) < most and not self._exhausted:
            seed = next(self._seeds, None)
            if seed is None:
                self._exhausted = True
                return
            self._submit(seed)

    def _submit(self, seed: int) -> None:
        try:
            self._pending[self.workers.submit(seed)] = seed
        except BrokenExecutor:
            self._again.append(seed)
            self.workers.renew()

    def _take_back(self) -> None:
        """Seeds that no worker has begun need not run; also those that an executor has taken in and cancels no more."""
        self.workers.begin_no_more()
        for future in [future for future in self._pending if future.cancel()]:
            del self._pending[future]

    def _take(self, future: Future[Delivered | None], watcher: Watcher, stop: Stop) -> None:
        seed = self._pending[future]
        try:
            delivered = future.result()
        except BrokenExecutor as error:
            self._workers_broke(seed, error, watcher, stop)
            return
        except CancelledError as error:
            raise EnvironmentFailed(
                f"the workers went away while seed {seed} was under way; what is done is kept"
            ) from error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what came of this seed.
            result = self._lost(seed, f"its worker failed: {type(error).__name__}: {error}")
        else:
            if delivered is None:
                del self._pending[future]
                return
            result = self._unpack(delivered)
        del self._pending[future]
        self._keep(result, watcher)

    def _workers_broke(self, seed: int, error: BrokenExecutor, watcher: Watcher, stop: Stop) -> None:
        """Everything under way is lost; if it was one seed alone, that seed did it."""
        lost = sorted(self._pending.values())
        finished = [future for future in self._pending if future.done() and not _broke(future)]
        for future in finished:
            lost.remove(self._pending[future])
            self._take(future, watcher, stop)
        self._pending.clear()
        self.workers.renew()
        if lost == [seed] and not stop.requests:
            self._keep(self._lost(seed, f"the worker process that ran it ended suddenly ({error})"), watcher)
        else:
            self._again.extend(lost)

    def _lost(self, seed: int, why: str) -> TrialResult:
        return TrialResult(
            seed=seed,
            outcome=FAILED,
            exit_code=HARNESS_FAILED_EXIT,
            sentence=why,
            command=self._command_of(seed),
        )

    def _keep(self, result: TrialResult, watcher: Watcher) -> None:
        self.sink.append(result)
        self.tally.add(result)
        self._failure_found = self._failure_found or result.is_failure
        watcher.took(result, self.tally)


def _broke(future: Future[Delivered | None]) -> bool:
    return isinstance(future.exception(), BrokenExecutor)
