"""The command line of the generator: writes a history whose verdict is known to standard output.

    python -m checkers.synthetic --level snapshot-isolation --transactions 1000 --seed 7 --format edn
    python -m checkers.synthetic --story lost-update --story G1a --format json
    python -m checkers.synthetic --model queue --operations 1000 --break reordered

What is certain about it goes to standard error, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from checkers.synthetic.breaks import BREAKS, break_object
from checkers.synthetic.formats import OF_HISTORIES, OF_REGISTERS, transaction_lines
from checkers.synthetic.histories import history_of
from checkers.synthetic.objects import OBJECTS, ObjectShape, run_object
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from checkers.synthetic.stories import STORIES, tell


def main(arguments: list[str] | None = None) -> int:
    """Writes what the arguments ask for; 0, or 2 for what cannot be made."""
    asked = _parser().parse_args(arguments)
    try:
        lines, certain = _of_object(asked) if asked.model else _of_transactions(asked)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.writelines(lines)
    print(json.dumps({"seed": asked.seed, **certain}), file=sys.stderr)
    return 0


def _of_object(asked: argparse.Namespace) -> tuple[Iterable[str], dict[str, object]]:
    if asked.format in OF_REGISTERS:
        raise ValueError(f"--format {asked.format} is for transactions on registers, not for --model")
    shape = ObjectShape(
        asked.model,
        asked.operations,
        asked.clients,
        keys=asked.keys or 0,
        values=asked.values,
        read_share=asked.read_share,
        crash_share=asked.crash_share,
    )
    made = run_object(shape, asked.seed)
    for name in asked.breaks:
        made = break_object(made, name, asked.seed)
    certain: dict[str, object] = {"linearizable": made.linearizable, "anomalies": made.anomalies}
    return [OF_HISTORIES[asked.format](made.history())], certain


def _of_transactions(asked: argparse.Namespace) -> tuple[Iterable[str], dict[str, object]]:
    shape = Shape(
        asked.transactions,
        asked.clients,
        asked.kind,
        keys=asked.keys or 10,
        writes_per_key=asked.writes_per_key,
        read_share=asked.read_share,
        distribution=asked.distribution,
        crash_share=asked.crash_share,
        abort_share=asked.abort_share,
        scan_share=asked.scan_share,
    )
    made = tell(run_store(shape, asked.level, asked.seed), asked.story, asked.seed)
    certain: dict[str, object] = {
        "satisfies": sorted(made.satisfies),
        "violates": sorted(made.violates),
        "anomalies": made.anomalies,
    }
    if asked.format in OF_REGISTERS:
        return [OF_REGISTERS[asked.format](made)], certain
    if asked.format in ("edn", "jsonl"):
        return transaction_lines(made, asked.format), certain
    return [OF_HISTORIES[asked.format](history_of(made))], certain


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="checkers.synthetic", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=[*OF_HISTORIES, *OF_REGISTERS], default="jsonl")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument(
        "--keys", type=int, help="in use at a time; for objects, how many objects (0: unkeyed)"
    )
    parser.add_argument("--read-share", type=float, default=0.5)
    parser.add_argument("--crash-share", type=float, default=0.0)
    transactions = parser.add_argument_group("transactions")
    transactions.add_argument("--level", choices=list(RULES), default="strict-serializable")
    transactions.add_argument("--kind", choices=["list-append", "rw-register"], default="list-append")
    transactions.add_argument("--transactions", type=int, default=1000)
    transactions.add_argument("--writes-per-key", type=int, default=32)
    transactions.add_argument("--distribution", choices=["uniform", "zipf"], default="uniform")
    transactions.add_argument("--abort-share", type=float, default=0.0)
    transactions.add_argument(
        "--scan-share", type=float, default=0.0, help="of reads that are scans; of rw-register"
    )
    transactions.add_argument(
        "--story", action="append", default=[], choices=list(STORIES), help="an anomaly to put in; repeatable"
    )
    objects = parser.add_argument_group("objects")
    objects.add_argument(
        "--model", choices=list(OBJECTS), help="operations on objects instead of transactions"
    )
    objects.add_argument("--operations", type=int, default=1000)
    objects.add_argument("--values", type=int, default=0, help="of registers: so many (0: each written once)")
    ways = sorted({name for ways in BREAKS.values() for name in ways})
    objects.add_argument("--break", dest="breaks", action="append", default=[], choices=ways)
    return parser


if __name__ == "__main__":
    sys.exit(main())
