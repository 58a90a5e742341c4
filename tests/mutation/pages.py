"""The pages of the checkers that are mutated, each with the tests that have to notice."""

PAGES: dict[str, tuple[str, ...]] = {
    "checkers/bank.py": ("tests/checkers/test_bank.py",),
    "checkers/set_full.py": ("tests/checkers/test_set_full.py",),
}
