"""Whatever is built from combinators keeps the contract: valid answers, histories that make sense, the same twice."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from results.history import HistoryOrder
from results.operation import FAIL, INFO, OK, Operation
from workloads.generator import combinators as g
from workloads.generator.core import Context, Generator, Invocation, Pending, first_context, generator
from workloads.generator.fake import Outcome, invocations, simulate

NANO = 1e-9

leaves = st.sampled_from(["read", "write", "cas"]).map(lambda f: ("leaf", f))
recipes: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.tuples(
            st.sampled_from(["list", "any", "shortest", "mix", "phases", "concat"]),
            st.lists(children, min_size=1, max_size=3),
        ),
        st.tuples(
            st.sampled_from(
                [
                    "limit",
                    "repeat",
                    "cycle",
                    "time_limit",
                    "stagger",
                    "delay",
                    "process_limit",
                    "concurrency",
                    "cache",
                ]
            ),
            st.integers(1, 8),
            children,
        ),
        st.tuples(
            st.sampled_from(
                [
                    "each_thread",
                    "each_process",
                    "until_ok",
                    "synchronize",
                    "validate",
                    "friendly",
                    "filter",
                    "map",
                ]
            ),
            children,
        ),
        st.tuples(
            st.sampled_from(["flip_flop", "reserve", "cycle_times", "then", "nemesis"]), children, children
        ),
    ),
    max_leaves=8,
)


def build(recipe: Any, stream: random.Random) -> Generator:
    """The generator of a recipe; every part draws from the same stream."""
    match recipe:
        case ("leaf", f):
            return generator(g.operation(f))
        case (("list" | "concat") as kind, parts):
            built = [build(part, stream) for part in parts]
            return generator(built) if kind == "list" else g.concat(*built)
        case ("any", parts):
            return g.any_of(*[build(part, stream) for part in parts], random=stream)
        case ("shortest", parts):
            return g.shortest_any(*[build(part, stream) for part in parts], random=stream)
        case ("mix", parts):
            return g.mix(*[build(part, stream) for part in parts], random=stream)
        case ("phases", parts):
            return g.phases(*[build(part, stream) for part in parts])
        case ("limit", count, part):
            return g.limit(count, build(part, stream))
        case ("repeat", count, part):
            return g.repeat(build(part, stream), count)
        case ("cycle", count, part):
            return g.cycle(build(part, stream), count)
        case ("time_limit", count, part):
            return g.time_limit(count * 10 * NANO, build(part, stream))
        case ("stagger", count, part):
            return g.stagger(count * NANO, build(part, stream), random=stream)
        case ("delay", count, part):
            return g.delay(count * NANO, build(part, stream))
        case ("process_limit", count, part):
            return g.process_limit(count + 4, build(part, stream))
        case ("concurrency", count, part):
            return g.concurrency_limit(count, build(part, stream))
        case ("cache", count, part):
            return g.cache(count * NANO, build(part, stream))
        case ("each_thread", part):
            return g.each_thread(build(part, stream))
        case ("each_process", part):
            return g.limit(20, g.each_process(build(part, stream)))
        case ("until_ok", part):
            return g.until_ok(build(part, stream))
        case ("synchronize", part):
            return g.synchronize(build(part, stream))
        case ("validate", part):
            return g.validate(build(part, stream))
        case ("friendly", part):
            return g.friendly_exceptions(build(part, stream))
        case ("filter", part):
            return g.filtered(lambda invocation: invocation.f != "cas", build(part, stream))
        case ("map", part):
            return g.f_map({"read": "get"}, build(part, stream))
        case ("flip_flop", first, second):
            return g.flip_flop(build(first, stream), build(second, stream))
        case ("reserve", first, second):
            return g.reserve((1, build(first, stream)), default=build(second, stream), random=stream)
        case ("cycle_times", first, second):
            return g.cycle_times((7 * NANO, build(first, stream)), (4 * NANO, build(second, stream)))
        case ("then", first, second):
            return g.then(build(first, stream), build(second, stream))
        case ("nemesis", first, second):
            return g.any_of(build(first, stream), g.nemesis(build(second, stream)), random=stream)
    raise AssertionError(f"no recipe: {recipe!r}")


def run(recipe: Any, seed: int) -> list[Operation]:
    """The events of a run with unreliable clients. Nested `reserve` may find too few threads: that is its error."""
    turn = [0]

    def client(event: Operation, stream: random.Random) -> Outcome:
        turn[0] += 1
        return Outcome((OK, OK, FAIL, INFO)[turn[0] % 4], stream.randint(1, 9), event.value)

    plan = g.validate(g.limit(60, g.time_limit(500 * NANO, build(recipe, random.Random(seed)))))
    return simulate(plan, client, clients=3, seed=seed, max_events=1000)


@settings(max_examples=150)
@given(recipes, st.integers(0, 3))
def test_any_stack_gives_a_history_that_makes_sense_and_the_same_twice(recipe, seed):
    try:
        events = run(recipe, seed)
    except (ValueError, g.GeneratorError) as error:
        if "threads" in str(error):
            return  # A restriction to threads inside another one that leaves too few.
        raise
    order = HistoryOrder()
    for event in events:
        order.admit(event)
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len(invocations(events)) <= 60
    assert len(events) == 2 * len(invocations(events)), "everything that began has ended"
    assert run(recipe, seed) == events


@settings(max_examples=150)
@given(recipes, st.integers(0, 1000), st.integers(0, 15))
def test_asking_never_answers_ahead_and_never_for_the_busy(recipe, now, free):
    plan = build(recipe, random.Random(1))
    start = first_context(3)
    context = Context(now, free, start.threads, start.processes, now % 4)
    try:
        answer = plan.next(context)
    except (ValueError, g.GeneratorError) as error:
        if "threads" in str(error):
            return
        raise
    if answer is None:
        return
    what, following = answer
    assert isinstance(following, Generator)
    if isinstance(what, Pending):
        assert what.wake_ns is None or what.wake_ns > now
        return
    assert isinstance(what, Invocation)
    assert what.process is not None
    assert context.is_free(what.process)
    assert what.time is not None
    assert what.time <= now


@settings(max_examples=150)
@given(recipes)
def test_who_does_not_listen_is_never_changed_by_events(recipe):
    """The promise on which the interpreter relies when it does not tell."""
    plan = build(recipe, random.Random(1))
    context = first_context(3)
    event = Operation(0, 0, 1, OK, "read")
    for _ in range(10):
        if not plan.listens:
            assert plan.update(context, event) is plan
        try:
            answer = plan.next(context)
        except (ValueError, g.GeneratorError):
            return
        if answer is None:
            return
        plan = answer[1]
