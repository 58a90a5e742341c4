"""The command of a node process: `python -m reference_db.server --config FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reference_db.server.config import parse_config
from reference_db.server.program import StartFailed
from reference_db.server.server import run
from reference_db.server.stores import end_with_parent, run_stores, store_config


def main() -> int:
    """Exit codes: 0 stopped by a signal, 1 could not start, 2 wrong usage, 70 stopped at once by a broken promise."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_db.server", description="Run one node of the database."
    )
    parser.add_argument("--config", required=True, type=Path, help="the node's configuration, a JSON file")
    parser.add_argument("--store", type=int, help="which of the node's stores this process is, from 1 on")
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
        if options.cores > 1 and arguments.store is None:
            return run_stores(arguments.config, options.cores)
        if arguments.store is not None:
            config = store_config(config, options.cores, arguments.store)
            end_with_parent()
        return run(config, options)
    except StartFailed as error:
        print(f"{config.node} cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
