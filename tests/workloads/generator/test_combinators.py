"""Every combinator, run against make-believe clients on virtual time."""

import itertools
import random

import pytest

from results.operation import FAIL, INFO, INVOKE, NEMESIS, OK, Operation
from workloads.generator import combinators as g
from workloads.generator.core import (
    NOTHING,
    PENDING,
    Context,
    Function,
    Generator,
    Invocation,
    Once,
    Pending,
    Sequential,
    first_context,
    generator,
)
from workloads.generator.fake import (
    Outcome,
    SimulationError,
    crashing,
    imperfect,
    invocations,
    perfect,
    quick,
    shape,
    simulate,
)

SECOND = 1_000_000_000
read = g.operation("read")
write = g.operation("write")


def stream(seed: int = 1) -> random.Random:
    return random.Random(seed)


def functions(events: list[Operation]) -> list[str]:
    return [event.f for event in invocations(events)]


def values(events: list[Operation]) -> list[object]:
    return [event.value for event in invocations(events)]


def times(events: list[Operation]) -> list[int]:
    return [event.time for event in invocations(events)]


def numbered(f: str = "write") -> Generator:
    """Invocations with the values 0, 1, 2 ...: an endless immutable counter."""

    class Counter(Generator, frozen=True):
        count: int = 0

        def next(self, context: Context):
            process = context.free_process()
            if process is None:
                return PENDING, self
            return Invocation(f, self.count, process, context.time), Counter(self.count + 1)

    return Counter()


# What can be a generator


def test_nothing_is_exhausted_at_once():
    assert quick(None) == quick([]) == quick([None, []]) == []


def test_an_invocation_happens_once_by_the_first_free_process():
    assert shape(perfect(read)) == [(0, 0, INVOKE, "read", None), (10, 0, OK, "read", None)]


def test_an_invocation_may_name_its_process_and_waits_for_it():
    named = g.operation("read", process=1)
    events = perfect([named, named])
    assert shape(events) == [
        (0, 1, INVOKE, "read", None),
        (10, 1, OK, "read", None),
        (10, 1, INVOKE, "read", None),
        (20, 1, OK, "read", None),
    ]


def test_an_invocation_may_name_its_time():
    later = Invocation("read", time=50)
    assert generator(later).next(first_context(2)) == (Pending(50), Once(later))
    assert times(perfect(later)) == [50]


def test_a_list_is_played_in_order_without_a_barrier():
    assert shape(perfect([read, write])) == [
        (0, 0, INVOKE, "read", None),
        (0, 1, INVOKE, "write", None),
        (10, 0, OK, "read", None),
        (10, 1, OK, "write", None),
    ]


def test_a_function_is_asked_until_it_answers_none_and_only_when_someone_is_free():
    asked = []

    def four(context: Context):
        asked.append(context.time)
        return read if len(asked) <= 4 else None

    # Two clients and the nemesis's thread: three at once, the fourth when one is free.
    assert times(perfect(four)) == [0, 0, 0, 10]
    assert asked == [0, 0, 0, 10, 10]


def test_a_function_may_answer_a_generator_or_a_process_of_its_choice():
    answers = iter([g.limit(2, g.repeat(write)), g.operation("read", process=1), None])
    events = perfect(lambda context: next(answers))
    assert functions(events) == ["write", "write", "read"]
    assert invocations(events)[2].process == 1


def test_a_function_that_answers_something_else_is_an_error():
    with pytest.raises(TypeError, match="must answer an Invocation"):
        quick(lambda context: {"f": "read"})


def test_what_cannot_be_a_generator_says_so():
    with pytest.raises(TypeError, match="cannot make a generator of"):
        generator(iter([read]))  # type: ignore[arg-type]


def test_free_threads_are_taken_in_turn_from_the_cursor():
    context = first_context(3)
    assert context.free_process() == 0
    assert Context(0, 0b0111, 0b1111, context.processes, 2).free_process() == 2
    assert Context(0, 0b0011, 0b1111, context.processes, 2).free_process() == 0
    assert Context(0, 0, 0b1111, context.processes, 2).free_process() is None


def test_a_replaced_process_is_not_free_though_its_thread_is():
    context = Context(0, 0b11, 0b11, (3, NEMESIS))
    assert context.is_free(3)
    assert not context.is_free(0)
    assert context.is_free(NEMESIS)


# The kit itself


def test_imperfect_clients_end_in_every_way_and_crashed_processes_are_replaced():
    events = imperfect(g.clients(g.limit(12, g.repeat(read))), clients=2)
    assert {event.type for event in events} == {INVOKE, OK, FAIL, INFO}
    crashed = [event.process for event in events if event.type == INFO]
    assert crashed
    assert {process + 2 for process in crashed} <= {event.process for event in events}
    for position, event in enumerate(events):
        if event.type == INFO:
            assert event.process not in [other.process for other in events[position + 1 :]]


def test_the_same_seed_gives_the_same_events():
    make = lambda: g.clients(g.limit(20, g.mix(read, g.repeat(write), random=stream())))  # noqa: E731
    assert imperfect(make()) == imperfect(make())
    assert imperfect(make(), seed=2) != imperfect(make(), seed=3)


def test_a_generator_that_waits_for_nothing_is_reported():
    class Stuck(Generator, frozen=True):
        def next(self, context: Context):
            return PENDING, self

    with pytest.raises(SimulationError, match="nothing is in flight"):
        quick(Stuck())


def test_a_generator_without_end_is_reported():
    with pytest.raises(SimulationError, match="no end after 100 events"):
        simulate(g.repeat(read), lambda *_: Outcome(OK, 1), max_events=100)


# Watching and guarding


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((Invocation(7, None, 0, 0), NOTHING), "f 7 must be text"),
        ((Invocation("read", None, None, 0), NOTHING), "no process"),
        ((Invocation("read", None, 9, 0), NOTHING), "process 9 is none of"),
        ((Invocation("read", None, 0, None), NOTHING), "time None"),
        ((Invocation("read", None, 0, 1), NOTHING), "lies ahead"),
        ((Invocation("read", None, 0, 0, "oops"), NOTHING), "type 'oops'"),
        ((Invocation("sleep", -1, 0, 0, "sleep"), NOTHING), "sleep lasts"),
        ((Invocation("read", None, 0, 0), None), "what follows must be a Generator"),
        (("read", NOTHING), "Invocation or Pending"),
        ("read", "None or a pair"),
    ],
)
def test_validate_lists_what_is_wrong(answer, problem):
    class Wrong(Generator, frozen=True):
        def next(self, context: Context):
            return answer

    with pytest.raises(g.GeneratorError, match=problem):
        quick(g.validate(Wrong()))


def test_validate_names_all_problems_together_and_a_busy_process():
    class Busy(Generator, frozen=True):
        def next(self, context: Context):
            return Invocation(None, None, 0, None), self  # type: ignore[arg-type]

    context = Context(5, 0b110, 0b111, (0, 1, NEMESIS))
    with pytest.raises(g.GeneratorError) as caught:
        g.validate(Busy()).next(context)
    for words in ("f None", "time None", "process 0 is busy", "free threads [1, 2] of [0, 1, 2]"):
        assert words in str(caught.value)


def test_validate_changes_nothing_that_is_right():
    plan = g.clients(g.limit(7, g.repeat(read)))
    assert imperfect(g.validate(plan)) == imperfect(plan)


def test_friendly_exceptions_show_generator_and_context():
    def broken(context: Context):
        raise ZeroDivisionError("by zero")

    with pytest.raises(
        g.GeneratorError, match=r"ZeroDivisionError: by zero(.|\n)*context: time 0 ns"
    ) as caught:
        quick(g.friendly_exceptions(broken))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def broken_update(inner: Generator, context: Context, event: Operation):
        raise KeyError("oops")

    with pytest.raises(g.GeneratorError, match="when told of"):
        quick(g.friendly_exceptions(g.on_update(broken_update, read)))


def test_trace_tells_of_questions_and_events():
    lines: list[str] = []
    later = Invocation("write", time=20)
    assert functions(perfect(g.trace("t", [read, later], lines.append))) == ["read", "write"]
    assert lines[0].startswith("t: next at 0 -> Invocation(f='read'")
    assert "t: update at 10 with ok read of 0 -> unchanged" in lines
    assert lines[-1] == "t: next at 20 -> exhausted"


# Changing


def test_mapped_and_f_map_change_invocations_only():
    def double(invocation: Invocation, context: Context) -> Invocation:
        return Invocation(invocation.f, invocation.value * 2, invocation.process, invocation.time)

    assert values(quick(g.mapped(double, g.limit(3, numbered())))) == [0, 2, 4]
    assert functions(quick(g.f_map({"read": "get"}, [read, g.sleep(1), write]))) == ["get", "write"]


def test_filtered_drops_and_asks_on():
    even = g.filtered(lambda invocation: invocation.value % 2 == 0, g.limit(6, numbered()))
    assert values(quick(even)) == [0, 2, 4]


def test_filtered_without_end_gives_up():
    with pytest.raises(g.GeneratorError, match="100000 invocations in a row"):
        quick(g.filtered(lambda _: False, g.repeat(read)))


def test_ignore_updates_hides_events_and_on_update_reacts():
    def stop_after_ok(inner: Generator, context: Context, event: Operation):
        return None if event.type == OK else inner.update(context, event)

    endless = g.clients(g.repeat(read))
    assert len(invocations(perfect(g.on_update(stop_after_ok, endless)))) == 2
    with pytest.raises(SimulationError, match="no end"):
        perfect(g.ignore_updates(g.on_update(stop_after_ok, endless)))


# Threads


def test_on_threads_restricts_and_hears_only_its_own():
    heard: list[int | str] = []

    def listen(inner: Generator, context: Context, event: Operation):
        heard.append(event.process)
        return inner.update(context, event)

    plan = g.any_of(
        g.on_threads([1], g.on_update(listen, g.limit(2, g.repeat(read)))),
        g.on_threads([0], g.limit(2, g.repeat(write))),
    )
    events = perfect(plan, clients=3)
    assert {event.process for event in events if event.f == "read"} == {1}
    assert {event.process for event in events if event.f == "write"} == {0}
    assert set(heard) == {1}


def test_clients_and_nemesis_keep_to_their_threads():
    events = perfect(
        g.clients(g.limit(4, g.repeat(read)), g.limit(2, g.repeat(g.operation("start")))), clients=2
    )
    assert [event.process for event in events if event.f == "start"] == [NEMESIS] * 4
    assert {event.process for event in events if event.f == "read"} == {0, 1}


def test_a_limit_around_clients_and_nemesis_is_pending_until_the_cutoff():
    """While all clients are busy, the nemesis's plan far ahead must not end the run; the clients go on after."""
    far_ahead = g.nemesis(Invocation("start", time=1000 * SECOND))
    plan = g.time_limit(1.0, g.any_of(g.clients(g.repeat(read)), far_ahead))
    answer = plan.next(first_context(1))
    assert answer is not None
    busy = Context(5, 0b10, 0b11, (0, NEMESIS))

    answer = answer[1].next(busy)

    assert answer is not None, "exhausted, though the client will be free again"
    what, following = answer
    assert what == Pending(SECOND), "asking again is worth it at the cutoff, not in a thousand seconds"
    assert following.next(Context(6, 0b11, 0b11, (0, NEMESIS)))[0].f == "read"
    assert following.next(Context(SECOND, 0b11, 0b11, (0, NEMESIS))) is None
    slow = simulate(plan, lambda *_: Outcome(OK, SECOND // 4), clients=1)
    assert times(slow) == [0, SECOND // 4, SECOND // 2, 3 * SECOND // 4]
    assert "start" not in functions(slow)


# Choosing


def test_any_of_takes_whoever_has_something_and_ends_when_all_have():
    plan = g.any_of(g.limit(2, g.repeat(read)), [g.operation("write", process=1)] * 2)
    assert sorted(functions(perfect(g.clients(plan)))) == ["read", "read", "write", "write"]


def test_any_of_prefers_who_should_have_started_first():
    late = Invocation("late", time=5)
    later = Invocation("later", time=7)
    plan = g.any_of(g.on_threads([0], later), g.on_threads([1], late))
    what, _ = plan.next(first_context(2, time=10))
    assert (what.f, what.time) == ("late", 5)


def test_any_of_breaks_ties_by_weight():
    plan = g.any_of(g.repeat(read), g.repeat(write), random=stream(), weights=[3, 1])
    counted = functions(quick(g.limit(4000, g.clients(plan))))
    assert 0.72 < counted.count("read") / 4000 < 0.78


def test_any_of_keeps_the_clocks_of_those_that_wait():
    """A limit that began to count when first asked goes on counting while another generator serves."""
    waits = g.time_limit(0.000_000_030, Invocation("never", time=SECOND))
    plan = g.any_of(waits, g.clients(g.repeat(read)))
    events = perfect(g.time_limit(0.000_000_100, plan))
    assert times(events)[-1] >= 90
    following: Generator = plan
    for now in (0, 10, 20):
        _, following = following.next(first_context(1, now))
    assert following.parts[0].cutoff == 30


def test_shortest_any_ends_with_the_first():
    plan = g.shortest_any(g.limit(2, g.repeat(read)), g.clients(g.repeat(write)), random=stream())
    assert functions(quick(plan)).count("read") == 2


def test_mix_is_uniform_weighted_and_drops_the_exhausted():
    even = functions(quick(g.limit(3000, g.clients(g.mix(g.repeat(read), g.repeat(write), random=stream())))))
    assert 0.46 < even.count("read") / 3000 < 0.54
    uneven = g.mix(g.repeat(read), g.repeat(write), random=stream(), weights=[9, 1])
    assert 0.88 < functions(quick(g.limit(3000, g.clients(uneven)))).count("read") / 3000 < 0.92
    assert sorted(functions(quick(g.mix(read, [write, write], random=stream())))) == [
        "read",
        "write",
        "write",
    ]


def test_mix_does_not_stick_to_one_that_waits():
    waits = Invocation("later", time=100)
    events = perfect(g.mix(waits, g.limit(5, g.repeat(read)), random=stream()))
    assert functions(events)[-1] == "later"
    assert times(events)[-1] == 100
    assert functions(events).count("read") == 5


def test_mix_refuses_weights_that_do_not_fit():
    with pytest.raises(ValueError, match="one weight >= 0 for each"):
        g.mix(read, write, random=stream(), weights=[1])


def test_reserve_gives_threads_and_the_rest_to_the_default():
    plan = g.reserve((2, g.repeat(g.operation("a"))), (1, g.repeat(g.operation("b"))), default=g.repeat(read))
    events = perfect(g.time_limit(100e-9, g.clients(plan)), clients=5)
    by_thread = {event.process: event.f for event in events}
    assert by_thread == {0: "a", 1: "a", 2: "b", 3: "read", 4: "read"}


def test_reserve_ties_follow_the_number_of_threads_and_too_many_are_refused():
    plan = g.reserve((9, g.repeat(g.operation("a"))), (1, g.repeat(g.operation("b"))), random=stream())
    chosen = [plan.next(first_context(10))]
    for _ in range(999):
        chosen.append(chosen[-1][1].next(first_context(10)))
    assert 0.86 < [what.f for what, _ in chosen].count("a") / 1000 < 0.94
    with pytest.raises(ValueError, match="reserve fewer"):
        quick(g.clients(plan), clients=5)
    with pytest.raises(ValueError, match="at least one"):
        g.reserve((0, read))


def test_each_thread_gets_a_copy():
    events = perfect(g.clients(g.each_thread([read, write])), clients=3)
    for process in range(3):
        assert [event.f for event in invocations(events) if event.process == process] == ["read", "write"]


def test_each_thread_goes_on_with_its_copy_after_a_crash_and_each_process_begins_anew():
    by_thread = crashing(g.clients(g.each_thread([read, write])), clients=1)
    assert [(event.process, event.f) for event in invocations(by_thread)] == [(0, "read"), (1, "write")]
    by_process = crashing(g.limit(3, g.clients(g.each_process([read, write]))), clients=1)
    assert [(event.process, event.f) for event in invocations(by_process)] == [
        (0, "read"),
        (1, "read"),
        (2, "read"),
    ]


def test_each_process_ends_when_nobody_is_left_who_could_crash():
    assert functions(perfect(g.clients(g.each_process(read)), clients=2)) == ["read", "read"]


def test_each_thread_passes_on_who_waits():
    events = perfect(g.clients(g.each_thread([Invocation("read", time=40)])), clients=2)
    assert times(events) == [40, 40]


# Counting


def test_limit_once_and_their_zero():
    assert len(quick(g.limit(3, g.repeat(read)))) == 3
    assert len(quick(g.once(g.repeat(read)))) == 1
    assert quick(g.limit(0, read)) == []
    assert len(quick(g.limit(5, [read, read]))) == 2


def test_repeat_uses_the_first_again_and_cycle_begins_anew():
    assert functions(quick(g.repeat([read, write], 3))) == ["read"] * 3
    assert functions(quick(g.cycle([read, write], 2))) == ["read", "write"] * 2
    assert functions(quick(g.limit(5, g.cycle([read, write])))) == ["read", "write", "read", "write", "read"]
    assert quick(g.cycle(None)) == quick(g.cycle(read, 0)) == quick(g.repeat(read, 0)) == []


# Pacing


def test_time_limit_counts_from_the_first_question_and_excludes_the_cutoff():
    plan = [g.limit(2, g.repeat(read)), g.time_limit(30e-9, g.repeat(write))]
    events = perfect(g.clients(plan), clients=1)
    assert [(event.time, event.f) for event in invocations(events)] == [
        (0, "read"),
        (10, "read"),
        (20, "write"),
        (30, "write"),
        (40, "write"),
    ]


def test_stagger_has_uniform_gaps_in_all_processes_together():
    plan = g.limit(2000, g.stagger(1e-6, g.clients(g.repeat(read)), random=stream()))
    starts = times(perfect(plan, clients=50))
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert 0.95e3 < sum(gaps) / len(gaps) < 1.05e3
    assert min(gaps) >= 0
    assert max(gaps) <= 2000
    assert max(gaps) > 1900


def test_stagger_goes_on_planning_while_the_clients_are_busy():
    """Coordinated omission: one slow operation makes the next ones late, and each says when it should have begun."""
    slow_first = iter([1000] + [1] * 100)
    plan = g.limit(10, g.delay(100e-9, g.clients(g.repeat(read))))
    events = simulate(plan, lambda *_: Outcome(OK, next(slow_first)), clients=1)
    starts = [(event.time, event.intended) for event in invocations(events)]
    assert starts[0] == (0, None)
    assert starts[1] == (1000, 100)
    assert starts[2] == (1001, 200)
    assert starts[9] == (1008, 900)


def test_stagger_without_catching_up_lets_the_plan_wait():
    slow_first = iter([1000] + [1] * 100)
    plan = g.limit(4, g.stagger(100e-9, g.clients(g.repeat(read)), random=stream(), catch_up=False))
    events = simulate(plan, lambda *_: Outcome(OK, next(slow_first)), clients=1)
    assert [event.intended for event in invocations(events)] == [None] * 4
    assert times(events)[1] == 1000
    assert times(events)[2] > 1001


def test_delay_is_exact_and_catches_up():
    assert times(perfect(g.limit(4, g.delay(3e-9, g.repeat(read))), clients=50)) == [0, 3, 6, 9]
    with pytest.raises(ValueError, match="cannot be negative"):
        g.delay(-1, read)


def test_sleep_keeps_one_process_busy_and_log_takes_no_time():
    events = perfect(g.clients([g.sleep(50e-9), g.log("now"), read]), clients=1)
    assert shape(events) == [(50, 0, INVOKE, "read", None), (60, 0, OK, "read", None)]


def test_cycle_times_rotates_by_the_clock_and_keeps_state():
    plan = g.cycle_times((20e-9, g.limit(5, numbered("a"))), (10e-9, g.limit(1, numbered("b"))))
    events = perfect(g.clients(plan), clients=1)
    assert [(event.time, event.f, event.value) for event in invocations(events)] == [
        (0, "a", 0),
        (10, "a", 1),
        (20, "b", 0),
        (30, "a", 2),
        (40, "a", 3),
        (60, "a", 4),
    ]
    with pytest.raises(ValueError, match="each above 0"):
        g.cycle_times((0, read))


def test_cache_remembers_until_used_changed_or_old():
    asked = []

    def expensive(context: Context):
        asked.append(context.time)
        return read

    plan = g.cache(1.0, g.clients(expensive))
    context = first_context(2)
    first = plan.next(context)
    assert plan.next(context) == first
    assert asked == [0], "asked once, answered twice"
    assert plan.next(Context(2 * SECOND, 0b111, 0b111, (0, 1, NEMESIS))) is not None
    assert asked == [0, 2 * SECOND], "too old"
    plan.next(Context(2 * SECOND, 0b110, 0b111, (0, 1, NEMESIS)))
    assert len(asked) == 3, "its process is busy now"
    assert first is not None
    first[1].next(context)
    assert len(asked) == 4, "what follows is asked anew"
    assert quick(g.cache(1.0, g.limit(3, numbered()))) == quick(g.limit(3, numbered()))


# Bounding


def test_process_limit_bounds_crashed_processes():
    events = crashing(g.process_limit(5, g.clients(g.repeat(read))), clients=2)
    assert len({event.process for event in events if event.process != NEMESIS}) <= 5
    inside = crashing(g.clients(g.process_limit(5, g.repeat(read))), clients=2)
    assert len({event.process for event in inside}) == 4, "4 and 5 would take over together: too many"
    with pytest.raises(ValueError, match="at least the number of threads"):
        quick(g.clients(g.process_limit(2, read)), clients=3)


@pytest.mark.parametrize("clients", [perfect, imperfect])
def test_concurrency_limit_bounds_what_is_in_flight(clients):
    events = clients(g.clients(g.concurrency_limit(2, g.limit(30, g.repeat(read)))), clients=5)
    in_flight = highest = 0
    for event in events:
        in_flight += 1 if event.type == INVOKE else -1
        highest = max(highest, in_flight)
    assert highest == 2
    assert len(invocations(events)) == 30


# Ordering


def test_synchronize_phases_and_then_wait_for_all_threads():
    slow = iter([100, 10, 10, 10])
    events = simulate(g.phases([read, read], write), lambda *_: Outcome(OK, next(slow)), clients=2)
    assert [(event.time, event.f) for event in invocations(events)] == [
        (0, "read"),
        (0, "read"),
        (100, "write"),
    ]
    assert functions(perfect(g.then([read, read], write))) == ["read", "read", "write"]
    assert times(perfect([read, g.synchronize(write)])) == [0, 10]
    assert times(perfect(g.concat(read, write))) == [0, 0]


def test_until_ok_stops_at_the_first_ok_of_its_own():
    ends = iter([FAIL, INFO, FAIL, OK, OK])
    events = simulate(g.clients(g.until_ok(g.repeat(read))), lambda *_: Outcome(next(ends), 10), clients=1)
    assert [event.type for event in events if event.type != INVOKE] == [FAIL, INFO, FAIL, OK]


def test_until_ok_is_not_deceived_by_others():
    """A write of another generator that succeeds does not end the wait for a read."""
    plan = g.any_of(
        g.on_threads([0], g.limit(3, g.repeat(write))),
        g.until_ok(g.on_threads([1], g.limit(3, g.repeat(read)))),
    )
    events = simulate(plan, lambda event, _: Outcome(OK if event.f == "write" else FAIL, 10), clients=2)
    assert functions(events).count("read") == 3


def test_flip_flop_alternates_and_ends_with_whoever_ends():
    plan = g.flip_flop(g.repeat(read), g.limit(2, g.repeat(write)))
    assert functions(quick(plan)) == ["read", "write", "read", "write", "read"]


# Independent keys


def test_sequential_keys_work_on_one_after_the_other():
    plan = g.sequential_keys(["x", "y"], lambda key: g.limit(2, numbered()))
    assert values(quick(plan)) == [["x", 0], ["x", 1], ["y", 0], ["y", 1]]
    endless = g.sequential_keys(lambda position: position, lambda key: read)
    assert values(quick(g.limit(3, endless))) == [[0, None], [1, None], [2, None]]


def test_concurrent_keys_give_each_group_a_key():
    plan = g.concurrent_keys(2, range(5), lambda key: g.limit(4, numbered()))
    events = perfect(g.clients(plan), clients=4)
    assert sorted(values(events)) == [[key, count] for key in range(5) for count in range(4)]
    threads_of_key: dict[int, set[int]] = {}
    for event in invocations(events):
        assert isinstance(event.process, int)
        threads_of_key.setdefault(event.value[0], set()).add(event.process // 2)
    assert all(len(groups) == 1 for groups in threads_of_key.values())
    assert {group for groups in threads_of_key.values() for group in groups} == {0, 1}


def test_concurrent_keys_hear_of_their_key_only_without_it():
    heard: list[tuple[object, object]] = []

    def make(key: object):
        def listen(inner: Generator, context: Context, event: Operation):
            heard.append((key, event.value))
            return inner.update(context, event)

        return g.on_update(listen, g.limit(2, g.repeat(g.operation("write", key))))

    perfect(g.clients(g.concurrent_keys(1, ["x", "y", "z"], make)), clients=2)
    assert heard
    assert all(key == value for key, value in heard)


def test_concurrent_keys_refuse_threads_that_do_not_divide():
    with pytest.raises(ValueError, match="multiple of 2"):
        quick(g.clients(g.concurrent_keys(2, [1], lambda key: read)), clients=3)


def test_until_ok_works_inside_keys():
    ends = iter([FAIL, OK, FAIL, OK])
    plan = g.concurrent_keys(1, ["x", "y"], lambda key: g.until_ok(g.repeat(read)))
    events = simulate(g.clients(plan), lambda event, _: Outcome(next(ends), 10, event.value), clients=1)
    assert values(events) == [["x", None], ["x", None], ["y", None], ["y", None]]


# The promise of `listens`


def test_what_does_not_listen_is_not_changed_by_events():
    deaf = g.validate(
        g.clients(
            g.time_limit(
                1, g.stagger(1e-6, g.mix(lambda c: read, lambda c: write, random=stream()), random=stream())
            )
        )
    )
    assert not deaf.listens
    _, following = deaf.next(first_context(2))
    assert not following.listens
    event = Operation(0, 0, 0, INVOKE, "read")
    assert following.update(first_context(2), event) is following


def test_whoever_wraps_a_listener_listens():
    listener = g.until_ok(g.repeat(read))
    for wrapped in (
        g.validate(listener),
        g.clients(listener),
        g.time_limit(1, listener),
        g.stagger(1, listener, random=stream()),
        g.limit(3, listener),
        g.mix(read, listener, random=stream()),
        generator([listener, read]),
    ):
        assert wrapped.listens, wrapped
    assert not generator([read, listener]).listens, "only the present part of a sequence hears of events"
    _, following = g.clients([read, listener]).next(first_context(2))
    assert following.listens, "and the next one does when its turn has come"
    assert isinstance(generator([read]), Sequential)
    assert isinstance(generator(lambda context: None), Function)
