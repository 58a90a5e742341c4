"""The pages of the checkers that are mutated, each with the tests that have to notice, the quick ones first."""

_AGREEMENT = ("tests/checkers/synthetic/test_agreement.py", "-m", "slow")
"""Generated histories; how many seeds is decided by HARNESS_SYNTHETIC_SEEDS."""
_SLOW_ONES = "agrees or exhaustive or both_forms or are_what_they_are or recorded"
_LISTS = "tests/checkers/isolation/test_list_append.py"
_LINEARIZABILITY = "tests/checkers/linearizability"

_OF_LISTS = (
    (_LISTS, "-k", f"not ({_SLOW_ONES})"),
    (*_AGREEMENT, "-k", "list-append and not levels"),
    (_LISTS, "-k", _SLOW_ONES),
)
_OF_WEAK = (("tests/checkers/isolation/test_weak_levels.py",),)
_OF_ZONES = (
    (f"{_LINEARIZABILITY}/test_named.py",),
    (f"{_LINEARIZABILITY}/test_ways.py",),
    (f"{_LINEARIZABILITY}/test_agreement.py",),
)
_OF_SEARCH = (
    (f"{_LINEARIZABILITY}/test_models.py",),
    (f"{_LINEARIZABILITY}/test_ways.py",),
    (f"{_LINEARIZABILITY}/test_search.py",),
)

PAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "checkers/linearizability/zone_columns.py": _OF_ZONES,
    "checkers/linearizability/search_kernel.py": _OF_SEARCH,
    "checkers/linearizability/races.py": _OF_SEARCH,
    "checkers/linearizability/decide.py": _OF_SEARCH,
    "checkers/isolation/append_kernel.py": _OF_LISTS,
    "checkers/isolation/components_kernel.py": _OF_LISTS,
    "checkers/isolation/cycles_kernel.py": _OF_LISTS,
    "checkers/isolation/cycles.py": _OF_LISTS,
    "checkers/isolation/list_versions.py": _OF_LISTS,
    "checkers/isolation/decide.py": _OF_LISTS,
    "checkers/isolation/lattice.py": (("tests/checkers/isolation/test_lattice.py",),),
    "checkers/isolation/weak_levels.py": _OF_WEAK,
    "checkers/isolation/weak_kernel.py": _OF_WEAK,
    "checkers/isolation/polygraph.py": (("tests/checkers/isolation/test_polygraph.py",),),
    **{
        f"checkers/{name}.py": (
            (f"tests/checkers/test_{name}.py",),
            (*_AGREEMENT, "-k", f"special and {name.partition('_')[0]}"),
        )
        for name in ("set_full", "counter", "queue")
    },
    **{
        f"checkers/{name}.py": ((f"tests/checkers/test_{name}.py",),)
        for name in (
            "bank",
            "unique_ids",
            "monotonic",
            "long_fork",
            "causal_reverse",
            "write_skew",
            "sessions",
            "staleness",
        )
    },
}
