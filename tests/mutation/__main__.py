"""The command line of mutation testing.

    python -m tests.mutation [--only WORD] [--budget SECONDS] [--seed N] [--all] [--page PATH TESTS...]

Tries the pages of `tests/mutation/pages.py`, a budget of seconds for each, and lists the mutants that no test notices,
but for those of which `tests/mutation/survivors.toml` says why.
"""

import argparse
import sys
from functools import partial

import hypothesis
import numpy  # noqa: F401 - imported once, before the processes are forked.
import pytest  # noqa: F401

from tests.mutation.pages import PAGES
from tests.mutation.runner import PROFILE, run_page
from tests.mutation.survivors import excused


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], help="pages whose path contains this; repeatable"
    )
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each page")
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which mutants are tried if not all can be"
    )
    parser.add_argument("--all", action="store_true", help="also those that are known to survive")
    parser.add_argument("--page", nargs="+", metavar=("PATH", "TESTS"), help="a page and its tests")
    asked = parser.parse_args()
    hypothesis.settings.register_profile(
        PROFILE,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        phases=[
            hypothesis.Phase.explicit,
            hypothesis.Phase.generate,
        ],  # The smallest example is of no use here.
    )
    pages = {asked.page[0]: (tuple(asked.page[1:]),)} if asked.page else PAGES
    for page, stages in pages.items():
        if asked.only and not any(word in page for word in asked.only):
            continue
        known = frozenset() if asked.all else excused(page)
        result = run_page(page, stages, asked.budget, asked.seed, known, partial(print, flush=True))
        print(
            f"{page}: {result.tried} of {result.found} mutants tried, {len(result.survivors)} survive; "
            f"{result.excused} are known to",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
