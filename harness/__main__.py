"""`python -m harness` and the console script `harness`."""

from __future__ import annotations


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    from harness.cli.app import run

    raise SystemExit(run())


if __name__ == "__main__":
    main()
