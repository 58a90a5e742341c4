"""The pages of the checkers that are mutated, each with the tests that have to notice."""

_LINEARIZABILITY = ("tests/checkers/linearizability",)
_LISTS = ("tests/checkers/isolation/test_list_append.py",)

PAGES: dict[str, tuple[str, ...]] = {
    "checkers/linearizability/zone_columns.py": _LINEARIZABILITY,
    "checkers/linearizability/search_kernel.py": _LINEARIZABILITY,
    "checkers/linearizability/races.py": _LINEARIZABILITY,
    "checkers/linearizability/decide.py": _LINEARIZABILITY,
    "checkers/isolation/append_kernel.py": _LISTS,
    "checkers/isolation/cycles_kernel.py": _LISTS,
    "checkers/isolation/components_kernel.py": _LISTS,
    "checkers/isolation/list_versions.py": _LISTS,
    "checkers/isolation/cycles.py": _LISTS,
    "checkers/isolation/decide.py": _LISTS,
    "checkers/isolation/lattice.py": ("tests/checkers/isolation/test_lattice.py",),
    "checkers/isolation/weak_levels.py": ("tests/checkers/isolation/test_weak_levels.py",),
    "checkers/isolation/weak_kernel.py": ("tests/checkers/isolation/test_weak_levels.py",),
    "checkers/isolation/polygraph.py": ("tests/checkers/isolation/test_polygraph.py",),
    "checkers/bank.py": ("tests/checkers/test_bank.py",),
    "checkers/set_full.py": ("tests/checkers/test_set_full.py",),
    "checkers/counter.py": ("tests/checkers/test_counter.py",),
    "checkers/queue.py": ("tests/checkers/test_queue.py",),
    "checkers/unique_ids.py": ("tests/checkers/test_unique_ids.py",),
    "checkers/monotonic.py": ("tests/checkers/test_monotonic.py",),
    "checkers/long_fork.py": ("tests/checkers/test_long_fork.py",),
    "checkers/causal_reverse.py": ("tests/checkers/test_causal_reverse.py",),
    "checkers/write_skew.py": ("tests/checkers/test_write_skew.py",),
    "checkers/sessions.py": ("tests/checkers/test_sessions.py",),
    "checkers/staleness.py": ("tests/checkers/test_staleness.py",),
}
