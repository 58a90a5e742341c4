"""`python -m harness` and the console script `harness`."""

from __future__ import annotations

import os


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    one_thread_of_numpy()
    from harness.cli.app import run

    raise SystemExit(run())


def one_thread_of_numpy() -> None:
    """Before NumPy is imported: nothing here computes with matrices, and a process that has threads cannot enter the
    user namespace of a `netns` run."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


if __name__ == "__main__":
    main()
