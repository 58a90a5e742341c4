"""The pages of the checkers that are mutated, each with the tests that have to notice, the quick ones first."""

from __future__ import annotations

from typing import Final

from tests.mutation.runner import Stages

_AGREEMENT: Final = ("tests/checkers/synthetic/test_agreement.py", "-m", "slow")
"""Generated histories; how many seeds is decided by HARNESS_SYNTHETIC_SEEDS."""
_SMALL: Final = ("tests/checkers/test_exhaustive.py", "-k")
"""All histories up to a size; with words that choose among them."""
_ISOLATION: Final = "tests/checkers/isolation/"
_LINEARIZABILITY: Final = "tests/checkers/linearizability/"


def _of(folder: str, *names: str) -> Stages:
    return tuple((f"{folder}test_{name}.py",) for name in names)


_SLOW_ONES: Final = "agrees or exhaustive or both_forms or are_what_they_are or recorded"
_LISTS: Final = f"{_ISOLATION}test_list_append.py"
_OF_LISTS: Final[Stages] = (
    (_LISTS, "-k", f"not ({_SLOW_ONES})"),
    (*_SMALL, "writes_and_reads and append"),
    (*_AGREEMENT, "-k", "list-append and not levels"),
    (_LISTS, "-k", _SLOW_ONES),
)
_OF_CYCLES: Final[Stages] = (*_OF_LISTS[:2], *_of(_ISOLATION, "rw_register"), *_OF_LISTS[2:])
_OF_OPEN: Final[Stages] = (*_of(_ISOLATION, "commit_order", "append_orders"), *_OF_LISTS)
_OF_REGISTERS: Final[Stages] = (*_of(_ISOLATION, "rw_register"), (*_SMALL, "writes_and_reads and not append"))
_OF_WEAK: Final[Stages] = (*_of(_ISOLATION, "weak_levels"), *_of(_ISOLATION, "polygraph"))
_OF_POLYGRAPHS: Final[Stages] = _of(_ISOLATION, "polygraph", "predicates", "rw_register")
_OF_ZONES: Final = _of(_LINEARIZABILITY, "named", "ways", "agreement")
_OF_SEARCH: Final = _of(_LINEARIZABILITY, "models", "named", "ways", "search")
_OF_MODELS: Final[Stages] = (
    *_of(_LINEARIZABILITY, "models", "named", "shapes", "fast_paths", "search"),
    (*_SMALL, "registers or sets or queues or counters"),
)
_OF_ELEMENTS: Final[Stages] = (
    *_of(_LINEARIZABILITY, "models", "fast_paths", "agreement"),
    (*_SMALL, "sets or queues"),
)
_OF_CALLS: Final = _of(_LINEARIZABILITY, "named", "columns", "ways", "shapes")
_OF_JUDGE: Final = _of("tests/checkers/", "judge", "registry", "strange_histories")
_OF_NAMES: Final[Stages] = (*_of("tests/harness/", "plug_ins"), *_of("tests/harness/cli/", "check_files"))
_OF_RUNS: Final = _of(
    "tests/checkers/", "stats_availability_faults", "fault_effects", "disk_faults", "fault_coverage"
)


def _special(name: str, *more: tuple[str, ...]) -> Stages:
    """A checker that fills a page, with its tests and then generated histories."""
    return (
        (f"tests/checkers/test_{name}.py",),
        *more,
        (*_AGREEMENT, "-k", f"special and {name.partition('_')[0]}"),
    )


_FOLDERS: Final[dict[str, dict[str, Stages]]] = {
    "checkers/isolation/": {
        **dict.fromkeys(("append_kernel", "list_versions", "list_reasons", "list_visibility"), _OF_LISTS),
        **dict.fromkeys(("decide", "prefix"), (*_OF_LISTS, *_OF_REGISTERS)),
        "list_append": (*_OF_OPEN, *_OF_REGISTERS),
        **dict.fromkeys(
            (
                "components_kernel",
                "cycles_kernel",
                "cycles",
                "dependencies",
                "dependencies_kernel",
                "grouping",
                "grouping_kernel",
                "evidence",
                "naming",
            ),
            _OF_CYCLES,
        ),
        **dict.fromkeys(("commit_order", "unobserved", "append_orders"), _OF_OPEN),
        "lattice": (*_of(_ISOLATION, "lattice"), *_OF_LISTS[:1], *_OF_REGISTERS[:1]),
        **dict.fromkeys(("weak_levels", "weak_kernel", "weak_words"), _OF_WEAK),
        **dict.fromkeys(
            (
                "rw_register",
                "register_kernel",
                "register_reasons",
                "register_versions",
                "serial_kernel",
                "serial_order",
            ),
            (*_OF_REGISTERS, (*_AGREEMENT, "-k", "rw-register and not levels")),
        ),
        **dict.fromkeys(("initial_values", "open_orders"), (*_of(_ISOLATION, "predicates"), *_OF_REGISTERS)),
        **dict.fromkeys(
            (
                "polygraph",
                "polygraph_checker",
                "polygraph_words",
                "predicates",
                "pruning",
                "pruning_kernel",
                "sat",
                "versions",
            ),
            _OF_POLYGRAPHS,
        ),
        **dict.fromkeys(
            ("orders", "order_kernel", "arrays", "reads_from", "reads_from_kernel", "read_anomalies"),
            (*_OF_WEAK, *_OF_POLYGRAPHS[1:]),
        ),
    },
    "checkers/linearizability/": {
        **dict.fromkeys(("zone_columns", "zones"), _OF_ZONES),
        **dict.fromkeys(("search_kernel", "races", "search"), _OF_SEARCH),
        "decide": (*_of(_LINEARIZABILITY, "shapes", "short", "fast_paths", "crowded"), *_OF_SEARCH),
        **dict.fromkeys(("short", "short_kernel"), (*_of(_LINEARIZABILITY, "short"), *_OF_SEARCH)),
        **dict.fromkeys(
            (
                "checker",
                "calls",
                "columns",
                "columns_kernel",
                "footprints",
                "footprints_kernel",
                "shapes",
            ),
            (*_OF_CALLS, *_of(_LINEARIZABILITY, "models", "short")),
        ),
        "readable": _of(_LINEARIZABILITY, "fast_paths"),
        **dict.fromkeys(
            ("elements", "elements_kernel", "sets", "versions", "versions_kernel", "locks"), _OF_ELEMENTS
        ),
        "explain": _of(_LINEARIZABILITY, "named", "models", "agreement", "short"),
        "orders": _of(_LINEARIZABILITY, "orders"),
        "crowded": _of(_LINEARIZABILITY, "crowded", "search"),
        **dict.fromkeys(
            (
                f"models/{name}"
                for name in ("model", "registers", "containers", "counters", "given", "locks", "maps")
            ),
            _OF_MODELS,
        ),
        "models/__init__": (*_of(_LINEARIZABILITY, "models"), *_OF_JUDGE),
    },
    "checkers/online/": dict.fromkeys(
        ("bank", "growing_set", "list_append", "monotonic", "unique_ids", "unique_registers"),
        _of("tests/checkers/", "online"),
    ),
    "checkers/": {
        **{
            name: _of("tests/checkers/", name)
            for name in (
                "unique_ids",
                "monotonic",
                "long_fork",
                "sessions",
                "transact_write",
                "completeness",
                "clock_faults",
                "disk_faults",
                "fault_coverage",
                "fault_effects",
            )
        },
        **{
            name: _of("tests/checkers/", name, "direct_definitions")
            for name in (
                "causal_reverse",
                "write_skew",
                "staleness",
                "log",
                "watch",
            )
        },
        "log_patterns": _of("tests/checkers/", "disk_faults", "clock_faults", "stats_availability_faults"),
        **dict.fromkeys(("bank", "bank_books"), _of("tests/checkers/", "bank")),
        "set_full": _special("set_full"),
        "queue": _special("queue", (*_SMALL, "axioms")),
        **dict.fromkeys(
            ("counter", "counter_levels", "counter_levels_kernel"),
            _special("counter", (*_SMALL, "test_counters")),
        ),
        **dict.fromkeys(("convergence", "findings"), _of("tests/checkers/", "convergence_and_findings")),
        **dict.fromkeys(("stats", "availability", "faults"), _OF_RUNS),
        **dict.fromkeys(("recovery", "crashes"), _of("tests/checkers/", "recovery_and_crashes")),
        **dict.fromkeys(("judge", "__init__"), _OF_JUDGE),
        **dict.fromkeys(("registry", "plug_ins"), (*_OF_JUDGE, *_OF_NAMES)),
        "alarms": _of("tests/checkers/", "online"),
        "checker": _of("tests/checkers/", "checker"),
        "precedence": _of("tests/checkers/", "precedence", "causal_reverse", "monotonic"),
        **dict.fromkeys(
            ("conclusion", "operations", "values", "words"),
            _of(
                "tests/checkers/",
                "values_and_words",
                "set_full",
                "queue",
                "bank",
                "long_fork",
                "strange_histories",
                "staleness",
            ),
        ),
    },
}

PAGES: Final[dict[str, Stages]] = {
    f"{folder}{name}.py": stages for folder, pages in _FOLDERS.items() for name, stages in pages.items()
}
WITHOUT: Final = (
    "checkers/synthetic/",
    "checkers/isolation/__init__.py",
    "checkers/isolation/budget.py",
    "checkers/linearizability/__init__.py",
    "checkers/online/__init__.py",
    "checkers/online/online_checker.py",
)
"""What is not mutated: makers of histories, whose verdicts are what the checkers are held against, and pages that
decide nothing."""
