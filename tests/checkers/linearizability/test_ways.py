"""Every way to the same question gives the same answer: zones in columns and one by one, the plain search, the two
compiled searches, by footprints and by asking the model, compiled and interpreted."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from drawn import register_history
from objects import object_history

from checkers.linearizability import races, search_kernel, short_kernel
from checkers.linearizability.calls import FOREVER
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.footprints import footprints_of
from checkers.linearizability.models import CasRegister, model_named
from checkers.linearizability.search import Search
from checkers.linearizability.zone_columns import find_zones
from checkers.linearizability.zones import check_zones
from results import kernels
from results.history import History, HistoryBuilder
from tests.checkers.linearizability.brute_force import is_linearizable
from tests.checkers.linearizability.test_named import story
from tests.checkers.linearizability.test_short import registers

MIXES = [("read", "write"), ("read", "read", "write", "cas"), ("read", "cas", "cas", "cas")]


def drawn(seed: int, *, keys: int, values: tuple[int | None, ...]) -> History:
    source = random.Random(seed)
    return register_history(
        source,
        operations=source.choice([6, 12, 30, 50]),
        processes=source.choice([2, 4, 6, 9]),
        values=source.choice(values),
        crash=source.choice([0, 0, 0.1, 0.4]),
        lie=source.choice([0, 0.05, 0.3]),
        fail=0.1,
        functions=source.choice(MIXES),
        keys=keys,
    )


@pytest.mark.parametrize("keys", [0, 3])
def test_zones_in_columns_and_one_by_one(keys: int) -> None:
    model = CasRegister()
    outcomes = {True: 0, False: 0, None: 0}
    for seed in range(250):
        history = drawn(seed, keys=keys, values=(None, None, None, 20))
        columns = CallColumns.of(history, keyed=bool(keys)).that_matter_to(model)
        footprints = footprints_of(columns, model)
        assert footprints is not None
        found = find_zones(footprints)
        for key in range(len(columns.keys)):
            whole = check_zones(columns.calls(np.flatnonzero(columns.key == key)), model)
            assert found.decided[key] == (whole is not None), f"seed {seed}"
            if whole is None:
                outcomes[None] += 1
                continue
            assert found.wrong[key] == (whole.found > 0), f"seed {seed}"
            outcomes[whole.found > 0] += 1
            part = check_zones(columns.calls(found.suspects[columns.key[found.suspects] == key]), model)
            assert part is not None
            assert part.found == whole.found, f"seed {seed}: the suspects hold every conflict"
    assert min(outcomes.values()) >= 10, outcomes


def runs(program: races.Program) -> list[tuple[str, Any]]:
    return list(zip(("breadth first", "depth first"), program.searches(10**9), strict=True))


def drive(runner: Any) -> tuple[bool, int]:
    """The verdict and the row where it got stuck, in small steps."""
    budget = 7
    while (status := runner.run(budget)) == search_kernel.PAUSED:
        budget += 7
    return status == search_kernel.LEGAL, runner.figures()[3]


def agree(seed: int) -> bool | None:
    model = CasRegister(failed_cas_observes=seed % 3 == 0)
    history = drawn(seed, keys=0, values=(None, 2, 3, 5))
    columns = CallColumns.of(history).that_matter_to(model)
    plain = Search(columns.calls(), model).run(20_000)
    if plain is None:
        return None
    footprints = footprints_of(columns, model)
    assert footprints is not None
    ways = {
        "footprints": races.program_of_footprints(footprints, np.arange(len(columns))),
        "model": races.program_of_model(columns, model, None),
    }
    for way, program in ways.items():
        assert program is not None, f"seed {seed}: {way} has no room"
        for name, runner in runs(program):
            legal, stuck = drive(runner)
            assert legal == plain.legal, f"seed {seed}: {way}, {name}"
            if not legal:
                assert plain.stuck is not None
                assert columns.end[program.rows[stuck]] == plain.stuck.end, f"seed {seed}: {way}, {name}"
    return plain.legal


def test_a_register_among_many_has_its_own_numbers() -> None:
    """One that repeats values, so that it is searched, beside many whose values make numbers high."""
    model = CasRegister()
    for seed in range(40):
        history = register_history(
            random.Random(seed), operations=30, processes=5, values=3, lie=0.1, crash=0.2, keys=2
        )
        columns = CallColumns.of(history, keyed=True).that_matter_to(model)
        columns = replace(columns, values=[*columns.values, *range(10**6, 10**6 + 5000)])
        footprints = footprints_of(columns, model)
        assert footprints is not None
        for key in range(2):
            rows = np.flatnonzero(columns.key == key)
            program = races.program_of_footprints(footprints, rows)
            assert program is not None
            plain = Search(columns.calls(rows), model).run()
            assert plain is not None
            for name, runner in runs(program):
                assert drive(runner)[0] == plain.legal, f"seed {seed}: {name}"


def test_searches_compiled_and_plain() -> None:
    outcomes = [agree(seed) for seed in range(400 if races.is_compiled() else 40)]
    assert outcomes.count(True) > len(outcomes) // 5
    assert outcomes.count(False) > len(outcomes) // 20


def test_the_kernel_says_the_same_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "search_kernel", kernels.load_interpreted(search_kernel))
    outcomes = [agree(seed) for seed in range(60)]
    assert True in outcomes
    assert False in outcomes


def test_a_memory_limit_stops_a_search() -> None:
    """Many writes at once that nobody can tell apart by reading."""
    source = random.Random(2)
    history = register_history(
        source, operations=60, processes=40, values=12, functions=("write", "cas", "write", "write")
    )
    model = CasRegister()
    columns = CallColumns.of(history).that_matter_to(model)
    footprints = footprints_of(columns, model)
    assert footprints is not None
    program = races.program_of_footprints(footprints, np.arange(len(columns)))
    assert program is not None
    breadth, _ = program.searches(1_000_000)
    if races.is_compiled():
        assert breadth.run(10**8) == search_kernel.FULL
        assert breadth.figures()[2] < 3_000_000


def test_classes_of_crashed_calls_have_bits_of_their_own_while_they_matter() -> None:
    """Room for their number, a guard bit above it, and nothing of both shared with who matters at the same time."""
    reused = 0
    for seed in range(60):
        source = random.Random(seed)
        history = register_history(
            source, operations=40, processes=6, values=source.choice([2, 4, 9]), crash=0.4, lie=0.1
        )
        columns = CallColumns.of(history).that_matter_to(CasRegister())
        footprints = footprints_of(columns, CasRegister())
        assert footprints is not None
        program = races.program_of_footprints(footprints, np.arange(len(columns)))
        if program is None:
            continue
        crashed = np.flatnonzero(program.end == FOREVER)
        placed: list[tuple[int, int, int]] = []
        guards = 0
        for number in sorted({int(program.classes[row]) for row in crashed}):
            rows = [row for row in crashed if program.classes[row] == number]
            field, offset = int(program.field_of[number]), int(program.offset[number])
            count = field >> offset
            assert field == count << offset
            assert count & (count + 1) == 0, f"seed {seed}: {field:b} has gaps"
            assert count >= len(rows)
            guard = (count + 1) << offset
            assert guard & program.guards
            assert field & program.guards == 0
            guards |= guard
            first, last = int(program.start[rows[0]]), int(program.until[number])
            for begin, end, bits in placed:
                shared = bits & (field | guard)
                reused += shared != 0
                assert not shared or end < first or last < begin, f"seed {seed}"
            placed.append((first, last, field | guard))
        assert guards == program.guards
        assert guards < 1 << 64
    assert reused > 5


@pytest.mark.parametrize(
    ("single", "double", "has_room"),
    [(32, 0, True), (33, 0, False), (0, 21, True), (0, 22, False), (2, 20, True), (3, 20, False)],
)
def test_how_many_crashed_calls_have_room(single: int, double: int, has_room: bool) -> None:
    """Those of which there is one take two bits, those of which there are two take three."""
    builder = HistoryBuilder()
    values = [*range(single), *range(100, 100 + double), *range(100, 100 + double)]
    for process, value in enumerate(values):
        builder.invoke(process, "write", value)
        builder.info(process)
    builder.invoke(1000, "read")
    builder.ok(1000, values[-1])
    columns = CallColumns.of(builder.done())
    program = races.program_of_model(columns, CasRegister(), None)
    assert (program is not None) == has_room
    if program is not None:
        assert [drive(runner)[0] for _, runner in runs(program)] == [True, True]


@pytest.mark.parametrize(("clients", "has_room"), [(64, True), (65, False)])
def test_how_many_calls_at_a_time_have_room(clients: int, has_room: bool) -> None:
    builder = HistoryBuilder()
    for process in range(clients):
        builder.invoke(process, "write", 1)
    for process in range(clients):
        builder.ok(process)
    program = races.program_of_model(CallColumns.of(builder.done()), CasRegister(), None)
    assert (program is not None) == has_room
    if program is not None:
        assert [drive(runner)[0] for _, runner in runs(program)] == [True, True]


def test_crashed_calls_that_no_longer_matter_leave_their_room() -> None:
    builder = HistoryBuilder()
    for value in range(100):
        builder.invoke(value, "write", value)
        builder.info(value)
        for process in (1000, 1001):
            builder.invoke(process, "read")
            builder.ok(process, value)
    columns = CallColumns.of(builder.done()).that_matter_to(CasRegister())
    footprints = footprints_of(columns, CasRegister())
    assert footprints is not None
    program = races.program_of_footprints(footprints, np.arange(len(columns)))
    assert program is not None
    assert [drive(runner)[0] for _, runner in runs(program)] == [True, True]


def test_many_values_and_few_calls() -> None:
    outcomes = []
    for seed in range(12):
        history = register_history(
            random.Random(seed), operations=40, processes=5, values=60, crash=0.1, lie=0.05 * (seed % 2)
        )
        columns = CallColumns.of(history).that_matter_to(CasRegister())
        footprints = footprints_of(columns, CasRegister())
        assert footprints is not None
        program = races.program_of_footprints(footprints, np.arange(len(columns)))
        plain = Search(columns.calls(), CasRegister()).run()
        assert program is not None
        assert plain is not None
        assert [drive(runner)[0] for _, runner in runs(program)] == [plain.legal] * 2
        outcomes.append(plain.legal)
    assert {True, False} <= set(outcomes)


class Runner:
    """A search that says what it is told to say; each turn looks at as much as it may, and takes as many bytes."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.looked_at = 0

    def run(self, budget: int) -> int:
        self.looked_at = budget
        return self.statuses.pop(0)

    def figures(self) -> tuple[int, int, int, int]:
        return self.looked_at, 1, self.looked_at, 0

    def needs(self) -> float:
        return 1e9


PAUSED, LEGAL, ILLEGAL, FULL = (
    search_kernel.PAUSED,
    search_kernel.LEGAL,
    search_kernel.ILLEGAL,
    search_kernel.FULL,
)


@pytest.mark.parametrize(
    ("breadth", "depth", "legal", "is_full", "held_bytes"),
    [
        ([PAUSED, LEGAL], [PAUSED], True, False, [20, 0]),
        ([PAUSED, PAUSED], [PAUSED, ILLEGAL], False, False, [20, 0]),
        ([PAUSED, PAUSED], [PAUSED, PAUSED], None, False, [20, 40]),
        ([FULL], [PAUSED, LEGAL], True, False, [10, 0]),
        ([PAUSED, PAUSED], [FULL], None, False, [10, 20]),
        ([FULL], [PAUSED, FULL], None, True, [10, 0]),
        ([FULL], [FULL], None, True, [0]),
    ],
)
def test_whoever_is_first_decides_and_who_is_full_leaves(
    breadth: list[int], depth: list[int], legal: bool | None, is_full: bool, held_bytes: list[int]
) -> None:
    program: Any = SimpleNamespace(
        breadth=lambda _: Runner(*breadth), depth=lambda _: Runner(*depth), rows=np.arange(3)
    )
    columns = CallColumns.of(register_history(random.Random(1), operations=3, processes=1))
    race = races.Race(program, columns, 10**6)
    for budget, held in zip((10, 20), held_bytes, strict=False):
        assert race.result is None
        assert not race.is_full
        race.run(budget)
        assert race.held_bytes == held
    assert (None if race.result is None else race.result.legal) == legal
    assert race.is_full == is_full


CRASHED: list[tuple[str, bool]] = [
    # Nil is a value like others.
    ("0 write 1 ok, 0 write null ok, 1 read null ok", True),
    ("0 write 1 ok, 0 write null ok, 1 read 1 ok", False),
    ("0 write 1 ok, 1 write null info, 2 read null ok", True),
    ("0 write 1 ok, 1 write null info, 2 read null ok, 2 read 1 ok", False),
    ("0 write 1 ok, 1 cas 1 null info, 2 read null ok", True),
    ("0 write 1 ok, 1 cas 2 null info, 2 read null ok", False),
    # Three came from a cas of nil, or from a write: the write may still be needed when the value is five.
    ("1 cas null 3 info, 2 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", True),
    ("2 write 3 info, 1 cas null 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", True),
    ("1 cas null 3 info, 2 cas 5 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", True),
    ("1 cas null 3 info, 2 cas null 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", False),
    (
        "1 cas null 3 info, 2 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok",
        False,
    ),
    # As often as it was begun, and not once more; what comes later does not help before.
    ("1 write 3 info, 2 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", True),
    ("1 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok", False),
    ("1 write 3 info, 3 read 3 ok, 0 write 5 ok, 2 write 3 info, 3 read 3 ok", True),
    ("1 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok, 2 write 3 info", False),
    (
        "1 write 3 info, 2 write 3 info, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok, 0 write 5 ok, 3 read 3 ok",
        False,
    ),
    # What a crashed call made is needed by another one, and by another one, and that was seen.
    ("0 write 1 info, 1 cas 1 2 info, 2 cas 2 3 info, 3 read 3 ok", True),
    ("2 cas 2 3 info, 1 cas 1 2 info, 0 write 1 info, 3 read 3 ok", True),
    ("1 cas 1 2 info, 2 cas 2 3 info, 3 read 3 ok", False),
    ("0 write 1 info, 4 write 1 info, 3 read 1 ok, 5 write 5 ok, 1 cas 1 2 info, 3 read 2 ok", True),
    ("0 write 1 info, 3 read 1 ok, 5 write 5 ok, 1 cas 1 2 info, 3 read 2 ok", False),
    (
        "0 write 1 info, 4 write 1 info, 3 read 1 ok, 5 write 5 ok, 1 cas 1 2 info, 2 cas 2 4 info, 3 read 4 ok",
        True,
    ),
    ("0 write 1 ok, 1 write null info, 2 cas null 2 info, 3 read 2 ok", True),
    ("0 write 1 ok, 2 cas null 2 info, 3 read 2 ok", False),
    ("0 write 5 ok, 1 write 1 info, 2 cas 1 null info, 3 read null ok", True),
    ("0 write 5 ok, 1 write 2 info, 2 cas 1 null info, 3 read null ok", False),
    ("0 write 5 ok, 1 write 1 info, 2 cas 1 3 info, 4 cas 7 3 info, 3 read 3 ok", True),
    ("0 write 5 ok, 1 write 1 info, 4 cas 7 3 info, 2 cas 1 3 info, 3 read 3 ok", True),
    (
        "0 write 3 ok, 1 cas 3 7, 2 read 3 ok, 0 write 5 ok, 2 read 5 ok, 4 write 3 info, 2 read 7 ok, 1 ok",
        True,
    ),
    ("0 write 3 ok, 1 cas 3 7, 2 read 3 ok, 0 write 5 ok, 2 read 5 ok, 2 read 7 ok, 1 ok", False),
    # A crashed call comes after one that acts alike and returns, which need not be so: both are there.
    ("0 write 3, 1 write 3 info, 3 read 3 ok, 5 write 5 ok, 0 ok, 3 read 3 ok", True),
    (
        "0 write 3, 1 write 3 info, 3 read 3 ok, 5 write 5 ok, 0 ok, 3 read 3 ok, 5 write 5 ok, 3 read 3 ok",
        False,
    ),
    ("0 write 3, 1 write 3, 3 read 3 ok, 5 write 5 ok, 1 ok, 3 read 3 ok, 0 ok", True),
    (
        "0 write 3, 1 write 3, 3 read 3 ok, 1 ok, 5 write 5 ok, 3 read 3 ok, 5 write 5 ok, 0 ok, 3 read 3 ok",
        False,
    ),
]
OBSERVED: list[tuple[str, bool]] = [
    ("0 write 1 ok, 0 cas 1 2, 0 fail", False),
    ("0 write 1 ok, 0 cas 2 3, 0 fail", True),
    ("0 write 1 ok, 1 write 2 info, 0 cas 1 3, 0 fail", True),
    ("0 write 1 ok, 1 write 2 info, 0 cas 1 3, 0 fail, 2 read 1 ok", False),
    ("0 write 1 ok, 1 write 2, 0 cas 1 3, 0 fail, 2 read 1 ok, 1 ok", False),
    ("0 write 1 ok, 1 write 2, 2 read 1 ok, 0 cas 1 3, 0 fail, 1 ok", True),
    ("0 cas null 1, 0 fail", False),
    ("1 write 2 info, 0 cas null 1, 0 fail", True),
    ("0 write 1, 1 cas 1 2, 1 fail, 0 ok, 2 read 1 ok", True),
]


@pytest.mark.parametrize("form", ["compiled", "interpreted"])
@pytest.mark.parametrize(("observes", "stories"), [(False, CRASHED), (True, CRASHED), (True, OBSERVED)])
def test_small_stories_by_every_way(
    observes: bool, stories: list[tuple[str, bool]], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CasRegister(failed_cas_observes=observes)
    if form == "interpreted":
        monkeypatch.setattr(races, "search_kernel", kernels.load_interpreted(search_kernel))
    for lines, legal in stories:
        history = story(*lines.split(", "))
        assert is_linearizable(history, failed_cas_observes=observes) == legal, lines
        assert verdicts(history, model) == {legal}, lines


def verdicts(history: History, model: CasRegister) -> set[bool]:
    """What all ways to search say."""
    columns = CallColumns.of(history)
    said = {register.judge(10**6) == short_kernel.LEGAL for register in registers(columns, model)}
    columns = columns.that_matter_to(model)
    footprints = footprints_of(columns, model)
    assert footprints is not None
    for program in (
        races.program_of_footprints(footprints, np.arange(len(columns))),
        races.program_of_model(columns, model, None),
    ):
        assert program is not None
        said |= {drive(runner)[0] for _, runner in runs(program)}
    found = Search(columns.calls(), model).run()
    assert found is not None
    return said | {found.legal}


@pytest.mark.parametrize("seed", range(16))
def test_many_open_calls_need_more_room(seed: int) -> None:
    """Nine writes at once and some crashed ones, read in one of their orders or in none."""
    source = random.Random(seed)
    builder = HistoryBuilder()
    values = [1, 2, 3, 4, 5, 6, 7, 1, 2]
    for process, value in enumerate(values):
        builder.invoke(process, "write", value)
    for process, value in enumerate(source.sample(values, 3), start=20):
        builder.invoke(process, "cas", [value, source.choice(values)])
        builder.info(process)
    state = {value: values.count(value) for value in values}
    for _ in range(6):
        value = source.choice([one for one, left in state.items() if left or seed % 2])
        state[value] -= 1
        builder.invoke(30, "read")
        builder.ok(30, value)
    for process in source.sample(range(len(values)), len(values)):
        builder.ok(process)
    (said,) = verdicts(builder.done(), CasRegister())
    assert said or seed % 2


@pytest.mark.parametrize("kind", ["unordered-queue", "priority-queue", "fenced-lock", "semaphore"])
@pytest.mark.parametrize("form", ["compiled", "interpreted"])
def test_objects_that_may_choose(kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crashed call leaves one of several states behind."""
    if form == "interpreted":
        monkeypatch.setattr(races, "search_kernel", kernels.load_interpreted(search_kernel))
    model = model_named(kind, **({"permits": 3} if kind == "semaphore" else {}))
    outcomes = []
    for seed in range(40):
        source = random.Random(f"{kind} {seed}")
        history = object_history(
            kind, source, operations=7, processes=3, crash=0.4, lie=0.3, repeat=source.choice([0, 0.3])
        )
        columns = CallColumns.of(history).that_matter_to(model)
        plain = Search(columns.calls(), model).run()
        program = races.program_of_model(columns, model, None)
        assert plain is not None
        assert program is not None
        assert [drive(runner)[0] for _, runner in runs(program)] == [plain.legal] * 2, f"seed {seed}"
        outcomes.append(plain.legal)
    assert min(outcomes.count(True), outcomes.count(False)) >= 5, outcomes
