"""Recorded histories of other projects, with the verdicts that are known for them (their README lists them)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recorded import recorded

from checkers.bank import BankChecker
from checkers.checker import Checker, Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import CasRegister
from checkers.set_full import SetFullChecker
from results.history import History
from results.interchange import jepsen
from results.verdict import INVALID, VALID

ETCD_LINEARIZABLE = {2, 18, 38, 48, 56, 76, 80, 92, 98, 100, 102}


@pytest.mark.parametrize("failed_cas_observes", [True, False], ids=["porcupine", "jepsen"])
def test_etcd_logs_of_porcupine(failed_cas_observes: bool) -> None:
    """Both readings of a failed cas, as an observation and as nothing, give the known verdicts."""
    checker = LinearizabilityChecker(CasRegister(failed_cas_observes=failed_cas_observes), split_by_key=False)
    judged = 0
    for path in sorted(recorded("porcupine/etcd").glob("etcd_*.log")):
        history = jepsen.load(path)
        if not history.operations:
            continue
        expected = VALID if int(path.stem.split("_")[1]) in ETCD_LINEARIZABLE else INVALID
        verdict = checker.check(history, Limits())
        assert verdict.outcome == expected, f"{path.name}: {verdict.sentence}"
        if expected == INVALID:
            assert 1 <= len(verdict.anomalies[0].evidence["minimal_history"]) <= 10, path.name
        judged += 1
    assert judged >= 10


def test_cas_registers_of_knossos() -> None:
    checker = LinearizabilityChecker(CasRegister(), split_by_key=False)
    for folder, expected in (("good", VALID), ("bad", INVALID)):
        paths = sorted(recorded(f"knossos/cas-register/{folder}").glob("*.edn"))
        assert paths
        for path in paths:
            verdict = checker.check(jepsen.load(path), Limits())
            assert verdict.outcome == expected, f"{folder}/{path.name}: {verdict.sentence}"


@pytest.mark.parametrize(
    ("name", "allow_negative", "expected"),
    [
        ("bank.edn", False, VALID),
        ("bank.json", False, VALID),
        ("bank-neg.edn", True, VALID),
        ("bank-negative-balances.json", False, INVALID),
    ],
)
def test_banks_of_elle_cli(name: str, allow_negative: bool, expected: str) -> None:
    history = jepsen.load(recorded(f"jepsen/{name}"))
    first = next(pair.value for pair in history.pairs() if pair.f == "read" and pair.type == "ok")
    checker: Checker = BankChecker(list(first), sum(first.values()), allow_negative)
    verdict = checker.check(history, Limits())
    assert verdict.outcome == expected, verdict.sentence


def test_sets_of_elle_cli() -> None:
    history = jepsen.load(recorded("jepsen/set.edn"))
    assert SetFullChecker().check(history, Limits()).outcome == VALID
    history = jepsen.load(recorded("jepsen/set_full.edn"))
    assert SetFullChecker().check(_of_one_key(history), Limits()).outcome == INVALID


def _of_one_key(history: History) -> History:
    """The file's values are `[key, element]` and `[key, elements]`, all of one key."""
    import msgspec

    return History(
        msgspec.structs.replace(
            o, value=o.value[1] if isinstance(o.value, list) and len(o.value) == 2 else None
        )
        for o in history.operations
    )
