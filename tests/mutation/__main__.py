"""The command line of mutation testing.

    python -m tests.mutation [--only WORD] [--budget SECONDS] [--seed N] [--page PATH TESTS...]

Tries the pages of `tests/mutation/pages.py`, a budget of seconds for each, and lists the mutants that no test notices.
"""

import argparse
import sys

import hypothesis
import numpy  # noqa: F401 - imported once, before the processes are forked.
import pytest  # noqa: F401

from tests.mutation.pages import PAGES
from tests.mutation.runner import run_page


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], help="pages whose path contains this; repeatable"
    )
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each page")
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which mutants are tried if not all can be"
    )
    parser.add_argument("--page", nargs="+", metavar=("PATH", "TESTS"), help="a page and its tests")
    asked = parser.parse_args()
    hypothesis.settings.register_profile("mutation", database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("mutation")
    pages = {asked.page[0]: (tuple(asked.page[1:]),)} if asked.page else PAGES
    for page, stages in pages.items():
        if asked.only and not any(word in page for word in asked.only):
            continue
        result = run_page(page, stages, asked.budget, asked.seed, lambda text: print(text, flush=True))
        print(
            f"{page}: {result.tried} of {result.found} mutants tried, {len(result.survivors)} survive",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
