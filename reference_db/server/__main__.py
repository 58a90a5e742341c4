"""The command of a node process: `python -m reference_db.server --config FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reference_db.server.config import parse_config
from reference_db.server.program import StartFailed
from reference_db.server.server import run


def main() -> int:
    """Exit codes: 0 stopped by a signal, 1 could not start, 2 wrong usage, 70 stopped at once by a broken promise."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_db.server", description="Run one node of the database."
    )
    parser.add_argument("--config", required=True, type=Path, help="the node's configuration, a JSON file")
    arguments = parser.parse_args()
    try:
        content = arguments.config.read_bytes()
    except OSError as error:
        print(f"cannot read the configuration: {error}", file=sys.stderr)
        return 2
    try:
        config, options = parse_config(content)
    except ValueError as error:
        print(f"{arguments.config}: {error}", file=sys.stderr)
        return 2
    try:
        return run(config, options)
    except StartFailed as error:
        print(f"{config.node} cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
