"""The command line of mutation testing.

    python -m tests.mutation [--only WORD] [--budget SECONDS] [--each SECONDS] [--seed N] [--jobs N] [--all] [--write]

Tries the pages of `tests/mutation/pages.py`, a budget of seconds for each, and lists the mutants that no test notices,
but for those of which `tests/mutation/survivors` says why; `--write` adds them there.
"""

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy  # noqa: F401 - imported once, before the processes are forked.

from tests.mutation.known import add, excused
from tests.mutation.pages import PAGES
from tests.mutation.runner import Result, run_page


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], help="pages whose path contains this; repeatable"
    )
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of processor time for each page")
    parser.add_argument(
        "--each",
        type=float,
        default=math.inf,
        help="seconds of the quickest tests of a stage for each mutant (all)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which mutants are tried if not all can be"
    )
    parser.add_argument("--jobs", type=int, default=1, help="pages tried at a time")
    parser.add_argument("--all", action="store_true", help="also those that are known to survive")
    parser.add_argument("--page", nargs="+", metavar=("PATH", "TESTS"), help="a page and its tests")
    parser.add_argument("--write", action="store_true", help="add what survives to the list, as open")
    asked = parser.parse_args()
    pages = {asked.page[0]: (tuple(asked.page[1:]),)} if asked.page else PAGES
    chosen = [page for page in pages if not asked.only or any(word in page for word in asked.only)]
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("fork")) as workers:
        running = {
            workers.submit(
                run_page,
                page,
                pages[page],
                asked.budget,
                asked.seed,
                frozenset() if asked.all else excused(page),
                asked.each,
            ): page
            for page in chosen
        }
        failed = 0
        for done in as_completed(running):
            if (error := done.exception()) is not None:
                failed += 1
                print(f"{running[done]} could not be tried: {error}", flush=True)
            else:
                _tell(running[done], done.result())
                if asked.write and (names := [place.name for place in done.result().survivors]):
                    add(
                        running[done],
                        f"open: survived {asked.each:g} s of each stage; nobody has looked",
                        names,
                    )
    return 1 if failed else 0


def _tell(page: str, result: Result) -> None:
    noticed = ", ".join(f"{number} {how}" for how, number in sorted(result.noticed.items()))
    print(
        f"{page}: {result.tried} of {result.found} mutants tried, {len(result.survivors)} survive, "
        f"{len(result.not_reached)} of them are not reached; {result.excused} are known to ({noticed})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
