"""The rows of the benchmark of the checkers: histories of stated shapes and seeds, and what is asked of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

MILLION: Final = 1_000_000
SEED: Final = 1


@dataclass(frozen=True)
class Row:
    """One history, or several of a kind, and one question."""

    name: str
    shape: str
    """The history in words; also where it was not made by us."""
    make: Callable[[Path], None]
    """Writes the history into a folder."""
    load: Callable[[Path], Any]
    """What is there when the clock starts."""
    judge: Callable[[Any], str]
    """What is measured; answers the outcome."""
    operations: int | Callable[[Any], int]
    expected: str
    to_reach_s: float | None = None
    to_reach_mb: float | None = None
    peer: str = ""
    """What the best peer takes, as it was measured on a machine of this class."""
    missing: Callable[[], str] = str
    """Why the row cannot be measured here; empty if it can."""
    porcupine: Callable[[Path], list[str]] | None = None
    elle: Callable[[Path], list[str]] | None = None


# Transactions.


def _made_transactions(level: str, **shape: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from checkers.synthetic.plan import Shape
        from checkers.synthetic.stores import run_store

        save(run_store(Shape(**shape), level, SEED).transactions, folder / "columns.npz")

    return make


ARRAYS: Final = (
    "process",
    "start",
    "end",
    "outcome",
    "first",
    "kind",
    "key",
    "value",
    "known",
    "element_first",
    "elements",
)


def save(transactions: Any, path: Path) -> None:
    """Writes columns whose keys and values are numbers that count up, as those of simulated stores are."""
    import numpy as np

    np.savez(
        path,
        keys=len(transactions.keys),
        values=len(transactions.values),
        of_registers=transactions.of_registers,
        **{name: getattr(transactions, name) for name in ARRAYS},
    )


def load_columns(folder: Path) -> Any:
    import numpy as np

    from results.transactions import Transactions

    with np.load(folder / "columns.npz") as saved:
        return Transactions(
            **{name: saved[name] for name in ARRAYS},
            keys=range(int(saved["keys"])),
            values=range(1, int(saved["values"]) + 1),
            of_registers=bool(saved["of_registers"]),
        )


def _isolated(kind: str, level: str) -> Callable[[Any], str]:
    def judge(transactions: Any) -> str:
        checker: Any
        if kind == "list-append":
            from checkers.isolation.list_append import ListAppendChecker

            checker = ListAppendChecker(level)
        else:
            from checkers.isolation.rw_register import RwRegisterChecker

            checker = RwRegisterChecker(level)
        return str(checker.check_transactions(transactions, _limits()).outcome)

    return judge


def _weakly_isolated(level: str) -> Callable[[Any], str]:
    def judge(transactions: Any) -> str:
        from checkers.isolation.weak_levels import check_weak

        return str(check_weak(transactions, level, _limits()).outcome)

    return judge


def _limits() -> Any:
    from checkers.checker import Limits

    return Limits(time_s=300, memory_mb=6000)


def _transactions_row(
    name: str,
    kind: str,
    store: str,
    count: int,
    expected: str,
    level: str = "strict-serializable",
    **more: Any,
) -> Row:
    return Row(
        name,
        f"{kind}, {count:,} transactions of 2.5 micro-operations, 10 hot keys, at most 32 writes a key, 10 clients "
        f"that overlap, from a store that is {store}, seed {SEED}; asked for {level}",
        _made_transactions(store, transactions=count, kind=kind),
        load_columns,
        _isolated(kind, level),
        count,
        expected,
        **more,
    )


# Operations on objects.


def _made_object(break_: str | None = None, **shape: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from checkers.synthetic.breaks import break_object
        from checkers.synthetic.formats import json_lines
        from checkers.synthetic.objects import ObjectShape, run_object

        made = run_object(ObjectShape(**shape), SEED)
        if break_ is not None:
            made = break_object(made, break_, SEED)
        (folder / "history.jsonl").write_text(json_lines(made.history()))

    return make


def _made_set(operations: int, read_share: float) -> Callable[[Path], None]:
    """A set that is read once more at the end; what nobody could have seen would leave its verdict open."""

    def make(folder: Path) -> None:
        from checkers.synthetic.formats import json_lines
        from checkers.synthetic.objects import ObjectShape, run_object
        from results.history import History
        from results.operation import INVOKE, OK, Operation

        made = run_object(ObjectShape("set", operations, 10, read_share=read_share), SEED)
        events = list(made.history().operations)
        elements = [made.argument[i] for i in made.order if made.f[i] == "add"]
        time, process = events[-1].time, int(made.process.max()) + 1
        events.append(Operation(len(events), time + 1, process, INVOKE, "read"))
        events.append(Operation(len(events), time + 2, process, OK, "read", elements))
        (folder / "history.jsonl").write_text(json_lines(History(events)))

    return make


def load_history(folder: Path) -> Any:
    from results.history import History

    return History.load(folder / "history.jsonl")


def load_calls(folder: Path, keyed: bool) -> Any:
    """The history as columns of calls, which is what readers of large files make."""
    from checkers.linearizability.columns import CallColumns

    return CallColumns.of(load_history(folder), keyed=keyed)


def _linearizable(model: str, keyed: bool = False, **arguments: Any) -> Callable[[Any], str]:
    def judge(history: Any) -> str:
        from checkers.linearizability.checker import LinearizabilityChecker
        from checkers.linearizability.columns import CallColumns
        from checkers.linearizability.models import model_named

        checker = LinearizabilityChecker(model_named(model, **arguments), split_by_key=keyed)
        if isinstance(history, CallColumns):
            return str(checker.check_columns(history, _limits()).outcome)
        return str(checker.check(history, _limits()).outcome)

    return judge


def _set(history: Any) -> str:
    from checkers.set_full import SetFullChecker

    return str(SetFullChecker(True).check(history, _limits()).outcome)


def _counter(history: Any) -> str:
    from checkers.counter import CounterChecker

    return str(CounterChecker().check(history, _limits()).outcome)


def _object_row(name: str, words: str, expected: str, break_: str | None = None, **more: Any) -> Row:
    shape = more.pop("shape")
    keyed = shape["model"] == "kv" or bool(shape.get("keys"))
    return Row(
        name,
        f"{words}, seed {SEED}" + (f", broken by {break_}" if break_ else ""),
        _made_object(break_, **shape),
        lambda folder: load_calls(folder, keyed),
        _linearizable(shape["model"], keyed),
        shape["operations"],
        expected,
        porcupine=lambda folder: [shape["model"], str(folder / "history.jsonl")],
        **more,
    )


REGISTER: Final = {"model": "cas-register", "clients": 10, "values": 5, "read_share": 0.5, "cas_share": 0.4}
UNIQUE: Final = {"model": "register", "clients": 20, "read_share": 0.5}
KV: Final = {"model": "kv", "operations": 2000, "clients": 50, "keys": 10, "read_share": 0.5}


# Recorded histories.


def _recorded(pattern: str) -> Callable[[Path], Any]:
    def load(_: Path) -> Any:
        from checkers.linearizability.columns import CallColumns
        from results.interchange import jepsen

        paths = sorted(Path(os.environ["HARNESS_HISTORIES"]).glob(pattern))
        histories = [jepsen.load(path) for path in paths if path.read_text().strip()]
        return [CallColumns.of(history) for history in histories]

    return load


def _no_recorded() -> str:
    return "" if os.environ.get("HARNESS_HISTORIES") else "HARNESS_HISTORIES names no folder"


def _judge_all(judge: Callable[[Any], str]) -> Callable[[Any], str]:
    def judge_all(histories: list[Any]) -> str:
        outcomes = [judge(history) for history in histories]
        return f"{outcomes.count('valid')} valid, {outcomes.count('invalid')} invalid"

    return judge_all


def _etcd(calls: Any) -> str:
    from checkers.linearizability.checker import LinearizabilityChecker
    from checkers.linearizability.models import model_named

    checker = LinearizabilityChecker(model_named("cas-register"), split_by_key=False)
    return str(checker.check_columns(calls, _limits()).outcome)


def _nothing(_: Path) -> None:
    pass


def _count(histories: list[Any]) -> int:
    return sum(len(calls) for calls in histories)


# Files.


def _made_file(format_: str, kind: str, count: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from checkers.synthetic.formats import transaction_lines
        from checkers.synthetic.plan import Shape
        from checkers.synthetic.stores import run_store

        made = run_store(Shape(count, kind=kind), "strict-serializable", SEED)  # type: ignore[arg-type]
        with (folder / f"history.{format_}").open("w") as file:
            file.writelines(transaction_lines(made, format_))

    return make


def _path(format_: str) -> Callable[[Path], Path]:
    return lambda folder: folder / f"history.{format_}"


def _read(path: Path, kind: str) -> Any:
    from results.interchange.straight import read_transactions

    format_ = "edn" if path.suffix == ".edn" else "json"
    return read_transactions(path.read_bytes(), format_, of_registers=kind == "rw-register")


def _parsed(kind: str) -> Callable[[Path], str]:
    def judge(path: Path) -> str:
        return f"{len(_read(path, kind).transactions):,} transactions read"

    return judge


def _judge_file(kind: str) -> Callable[[Path], str]:
    def judge(path: Path) -> str:
        return _isolated(kind, "strict-serializable")(_read(path, kind).transactions)

    return judge


def _file_row(name: str, format_: str, kind: str, count: int, **more: Any) -> Row:
    return Row(
        name,
        f"from a file of {format_} to the verdict: {kind}, {count:,} transactions as above",
        _made_file(format_, kind, count),
        _path(format_),
        _judge_file(kind),
        count,
        "valid",
        elle=lambda folder: ["--model", kind, str(folder / f"history.{format_}")],
        **more,
    )


def _rows() -> list[Row]:
    etcd = "porcupine/etcd/*.log"
    registers = (
        Row(
            "etcd-logs",
            "Porcupine's recorded logs of etcd, all that are there; sum",
            _nothing,
            _recorded(etcd),
            _judge_all(_etcd),
            _count,
            "11 valid, 41 invalid",
            to_reach_s=0.025,
            peer="Porcupine 410-638 ms for all 102",
            missing=_no_recorded,
        ),
        *(
            _object_row(
                f"cas-register-{label}{'-bad' if break_ else ''}",
                f"one register, {count:,} operations by 10 clients, half reads, 5 values",
                "invalid" if break_ else "valid",
                break_,
                shape={**REGISTER, "operations": count},
                to_reach_s=seconds,
                to_reach_mb=megabytes,
                peer=peer,
            )
            for label, count, break_, seconds, megabytes, peer in (
                ("10k", 10_000, None, 0.012, None, "Porcupine 367 ms"),
                ("10k", 10_000, "stale-read", 0.012, None, "Porcupine 22.6 s"),
                ("100k", 100_000, None, 0.15, 200, "Porcupine none in 60 s, 17 GB"),
            )
        ),
        *(
            _object_row(
                f"register-unique-{label}",
                f"one register, {count:,} operations by 20 clients, half reads, each value written once",
                "valid",
                shape={**UNIQUE, "operations": count},
                to_reach_s=seconds,
                peer=peer,
            )
            for label, count, seconds, peer in (
                ("10k", 10_000, None, "Porcupine none in 60 s"),
                ("1m", MILLION, 0.2, "Porcupine none at 10,000"),
            )
        ),
        _object_row(
            "kv-2k",
            "10 keys with get, put and append, 2,000 operations by 50 clients",
            "valid",
            shape=KV,
            to_reach_s=0.010,
            peer="Porcupine 105 ms",
        ),
        _object_row(
            "kv-2k-bad",
            "10 keys with get, put and append, 2,000 operations by 50 clients",
            "invalid",
            "stale-read",
            shape=KV,
            to_reach_s=0.005,
            peer="Porcupine 14 ms",
        ),
        *(
            _object_row(
                f"{model}-{label}",
                f"one {model}, {count:,} operations by 10 clients",
                "valid",
                shape={"model": model, "operations": count, "clients": 10, "read_share": reads},
            )
            for model, reads in (("queue", 0.5), ("stack", 0.5), ("priority-queue", 0.5))
            for label, count in (("10k", 10_000), ("1m", MILLION))
        ),
    )
    without_search = tuple(
        replace(
            _object_row(
                f"{model}-{label}",
                f"one {model}, {count:,} operations by 10 clients, {reads:,} of them reads, by its own checker",
                "valid",
                shape={"model": model, "operations": count, "clients": 10, "read_share": reads / count},
            ),
            **({"make": _made_set(count, reads / count)} if model == "set" else {}),
            load=load_history,
            judge=judge,
            porcupine=None,
        )
        for model, judge, label, count, reads in (
            ("set", _set, "10k", 10_000, 20),
            ("set", _set, "1m", MILLION, 20),
            ("counter", _counter, "10k", 10_000, 5_000),
            ("counter", _counter, "1m", MILLION, 500_000),
        )
    )
    of_objects = tuple(
        replace(
            row,
            name=f"{row.name}-objects",
            shape=f"{row.shape}; from operations that are Python objects instead of columns",
            load=load_history,
            to_reach_s=None,
            to_reach_mb=None,
            porcupine=None,
        )
        for row in registers
        if row.name in ("cas-register-100k", "register-unique-10k", "register-unique-1m")
    )
    transactions = (
        *(
            _transactions_row(
                f"{kind}-{label}",
                kind,
                "strict-serializable",
                count,
                "valid",
                to_reach_s=seconds,
                to_reach_mb=megabytes,
                peer=peer,
            )
            for kind, label, count, seconds, megabytes, peer in (
                ("list-append", "10k", 10_000, None, None, "Elle 0.29 s"),
                ("list-append", "1m", MILLION, 1.0, 1024, "Elle 32-46 s, 11 GB"),
                ("rw-register", "10k", 10_000, None, None, ""),
                ("rw-register", "1m", MILLION, 2.0, None, "Elle 61-87 s"),
            )
        ),
        _transactions_row(
            "list-append-1m-si",
            "list-append",
            "strong-snapshot-isolation",
            MILLION,
            "invalid",
            to_reach_s=2.5,
            peer="Elle 50 s",
        ),
        *(
            replace(
                _transactions_row(
                    f"rw-register-{label}-{level}",
                    "rw-register",
                    "causal",
                    count,
                    "valid",
                    level,
                ),
                judge=_weakly_isolated(level),
            )
            for level in ("read-committed", "read-atomic", "causal")
            for label, count in (("10k", 10_000), ("1m", MILLION))
        ),
    )
    files = tuple(
        row
        for kind in ("list-append", "rw-register")
        for format_, seconds in (("edn", 4.0), ("jsonl", 1.5))
        for label, count in (("10k", 10_000), ("1m", MILLION))
        for row in (
            _file_row(f"file-{format_}-{kind}-{label}", format_, kind, count),
            replace(
                _file_row(f"read-{format_}-{kind}-{label}", format_, kind, count),
                shape=f"reading a file of {format_}, and nothing else: {kind}, {count:,} transactions as above",
                judge=_parsed(kind),
                expected=f"{count:,} transactions read",
                to_reach_s=seconds if (kind, label) == ("rw-register", "1m") else None,
                elle=None,
            ),
        )
    )
    return [*registers, *without_search, *of_objects, *transactions, *files]


ROWS: Final[dict[str, Row]] = {row.name: row for row in _rows()}

GROWTH: Final = tuple(
    (f"{name}-10k{rest}", f"{name}-1m{rest}", 2.5)
    for name, rest in (
        ("register-unique", ""),
        ("register-unique", "-objects"),
        ("queue", ""),
        ("stack", ""),
        ("priority-queue", ""),
        ("set", ""),
        ("counter", ""),
        ("list-append", ""),
        ("rw-register", ""),
        ("rw-register", "-read-committed"),
        ("rw-register", "-read-atomic"),
        ("rw-register", "-causal"),
        ("file-edn-list-append", ""),
        ("file-jsonl-list-append", ""),
        ("read-edn-rw-register", ""),
        ("read-jsonl-rw-register", ""),
    )
)
"""Pairs of rows, and how many times the time an operation may grow from the first to the second."""

FACTORS: Final[dict[str, float]] = {
    "register-unique-10k": 3,
    "set-10k": 3,
    "counter-10k": 3,
    "list-append-10k": 15,
    "rw-register-10k": 15,
    "cas-register-10k": float("inf"),
}
"""Rows that are also measured with interpreted kernels, and how many times longer they may take."""
