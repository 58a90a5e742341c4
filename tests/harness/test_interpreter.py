"""The machine without I/O: what it invokes, numbers, refuses and remembers."""

import math
import random
from typing import Any

import pytest

from harness.interpreter import INVALID_COMPLETION, NO_ANSWER, CompletionError, Interpreter, json_problems
from nemesis.schedule import Step
from results.history import HistoryOrder
from results.operation import FAIL, INFO, INVOKE, NEMESIS, OK, Operation
from workloads.generator import combinators as g
from workloads.generator.core import PENDING, Context, Generator, Invocation, Source

NODES = ["n1", "n2", "n3"]
read = g.operation("read")


def machine(source: Source, processes: int = 3, **options: Any) -> Interpreter:
    return Interpreter(source, processes, NODES, random.Random(1), **options)


def endless() -> Generator:
    return g.clients(g.repeat(read))


def test_everybody_who_is_free_is_given_something_in_one_poll():
    interpreter = machine(endless())

    poll = interpreter.poll(100)

    assert sorted(event.process for event in poll.invocations) == [0, 1, 2]
    assert [event.index for event in poll.invocations] == [0, 1, 2]
    assert {event.time for event in poll.invocations} == {100}
    assert not poll.done
    assert poll.wake_at_ns is None, "only a completion changes anything now"
    assert interpreter.poll(200).invocations == []


def test_a_few_invocations_begin_when_the_deciding_is_over():
    """What the generator took is not part of their intervals; with many at once the time of the poll will do."""
    interpreter = machine(endless())

    poll = interpreter.poll(100, stamp=lambda: 130)

    assert {event.time for event in poll.invocations} == {130}
    assert {event.time for event in interpreter.in_flight.values()} == {130}
    assert interpreter.complete(0, OK, 1, None, 120).time == 130, "time never goes back"
    assert {
        event.time for event in machine(endless(), processes=9).poll(100, stamp=lambda: 130).invocations
    } == {100}
    assert {event.time for event in machine(endless()).poll(100, stamp=lambda: 90).invocations} == {100}


def test_a_process_keeps_to_its_node_also_when_it_is_replaced():
    interpreter = machine(endless(), processes=4)
    for turn in range(20):
        for event in interpreter.poll(turn).invocations:
            assert isinstance(event.process, int)
            assert event.node == NODES[event.process % 4 % 3]
            interpreter.complete(event.process, INFO, None, None, turn)


def test_a_crashed_process_is_replaced_by_its_number_plus_the_threads():
    interpreter = machine(endless())
    interpreter.poll(0)
    interpreter.complete(1, INFO, None, ["timeout", ""], 5)
    interpreter.complete(0, FAIL, None, ["refused", ""], 6)

    again = interpreter.poll(7).invocations

    assert {event.process for event in again} == {0, 4}
    interpreter.complete(4, INFO, None, None, 8)
    assert {event.process for event in interpreter.poll(9).invocations} == {7}


def test_completions_given_before_the_poll_come_first_in_the_history():
    interpreter = machine(endless(), processes=1)
    first = interpreter.poll(0).invocations[0]
    completion = interpreter.complete(0, OK, 1, None, 10)
    second = interpreter.poll(10).invocations[0]
    assert [first.index, completion.index, second.index] == [0, 1, 2]


def test_time_never_goes_back():
    interpreter = machine(endless(), processes=2)
    interpreter.poll(100)
    assert interpreter.complete(0, OK, 1, None, 90).time == 100
    assert interpreter.observe(NEMESIS, INFO, "start", {}, 95).time == 100
    assert interpreter.poll(50).invocations[0].time == 100


def test_a_late_invocation_says_when_it_should_have_begun():
    """Open loop: while the only process is busy the plan goes on, and what it had to wait for is on record."""
    ms = 1_000_000
    interpreter = machine(g.clients(g.delay(0.1, g.repeat(read))), processes=1)
    assert interpreter.poll(0).invocations[0].intended is None
    assert interpreter.poll(50 * ms).invocations == []
    interpreter.complete(0, OK, None, None, 199 * ms)

    late = interpreter.poll(199 * ms).invocations[0]
    interpreter.complete(0, OK, None, None, 200 * ms)
    hardly = interpreter.poll(200 * ms + 5).invocations[0]

    assert (late.time, late.intended) == (199 * ms, 100 * ms)
    assert (hardly.time, hardly.intended) == (200 * ms + 5, 200 * ms)
    assert (interpreter.late, interpreter.latest_ns) == (1, 99 * ms)


def test_a_poll_says_when_to_come_back():
    interpreter = machine(g.clients(g.delay(100e-9, g.repeat(read))))
    assert interpreter.poll(0).wake_at_ns == 100
    assert interpreter.poll(100).wake_at_ns == 200


def test_sleepers_are_busy_and_wake_by_themselves():
    interpreter = machine(g.clients([g.sleep(50e-9), read]), processes=1)
    poll = interpreter.poll(0)
    assert (poll.invocations, poll.wake_at_ns, poll.done) == ([], 50, False)
    assert interpreter.poll(49).invocations == []
    assert [event.f for event in interpreter.poll(50).invocations] == ["read"]


def test_a_thread_that_rests_is_given_nothing_meanwhile():
    interpreter = machine(endless(), processes=2)
    interpreter.poll(0)
    interpreter.complete(1, INFO, None, None, 10, rest_ns=50)
    assert interpreter.poll(10).wake_at_ns == 60
    assert interpreter.poll(59).invocations == []
    assert [event.process for event in interpreter.poll(60).invocations] == [3]
    interpreter.complete(0, OK, None, None, 70, rest_ns=50)
    interpreter.stop()
    interpreter.complete(3, OK, None, None, 71, rest_ns=50)
    assert interpreter.poll(71).done, "nobody waits for those who rest when nothing more is to come"


def test_logs_go_to_the_user_and_not_into_the_history():
    interpreter = machine([g.log("hello"), read])
    poll = interpreter.poll(0)
    assert poll.messages == ["hello"]
    assert [event.index for event in poll.invocations] == [0]


def test_it_is_done_when_the_generator_is_exhausted_and_nothing_is_in_flight():
    interpreter = machine([read, g.sleep(50e-9)])
    assert not interpreter.poll(0).done
    interpreter.complete(0, OK, None, None, 10)
    assert not interpreter.poll(10).done, "somebody sleeps"
    assert interpreter.poll(50).done


def test_a_generator_that_waits_for_nothing_is_stuck():
    class Waits(Generator, frozen=True):
        def next(self, context: Context):
            return PENDING, self

    interpreter = machine(g.any_of(read, Waits()))
    interpreter.poll(0)
    assert not interpreter.is_stuck(), "the read may yet change something"
    interpreter.complete(0, OK, None, None, 1)
    assert interpreter.poll(1).wake_at_ns is None
    assert interpreter.is_stuck()
    assert "in flight (0): nothing" in interpreter.describe()


def test_fault_steps_are_due_in_order_and_count_from_the_first_poll():
    steps = [Step(2, 30, "kill"), Step(1, 10, "pause"), Step(3, 30, "clock")]
    interpreter = machine(endless(), schedule=steps)
    assert interpreter.poll(1000).wake_at_ns == 1010
    assert [step.id for step in interpreter.poll(1010).steps] == [1]
    assert [step.id for step in interpreter.poll(1100).steps] == [2, 3]
    assert interpreter.steps_left == 0


def test_steps_that_are_not_due_when_the_main_phase_ends_never_are():
    interpreter = machine(read, schedule=[Step(1, 10, "kill")])
    interpreter.poll(0)
    interpreter.complete(0, OK, None, None, 5)
    assert interpreter.poll(5).done
    interpreter.begin_phase("final", read)
    assert interpreter.poll(500).steps == []


def test_processes_indexes_and_time_carry_over_to_the_final_phase():
    interpreter = machine(g.clients(g.limit(3, g.repeat(read))))
    interpreter.poll(0)
    for process in range(3):
        interpreter.complete(process, INFO, None, None, 10)
    assert interpreter.poll(10).done
    interpreter.mark_phase("final", 20)
    interpreter.begin_phase("final", g.clients(g.limit(3, g.repeat(read))))

    final = interpreter.poll(15).invocations

    assert {event.process for event in final} == {3, 4, 5}
    assert [event.index for event in final] == [7, 8, 9]
    assert {event.phase for event in final} == {"final"}
    assert {event.time for event in final} == {20}


def test_a_phase_cannot_begin_while_something_is_in_flight():
    interpreter = machine(endless())
    interpreter.poll(0)
    with pytest.raises(AssertionError, match="in flight"):
        interpreter.begin_phase("final", None)


def test_stopping_generates_no_more_and_lets_the_rest_end():
    interpreter = machine(g.clients(g.any_of(g.repeat(read), g.sleep(1.0))))
    assert len(interpreter.poll(0).invocations) >= 2
    interpreter.stop()
    for process in list(interpreter.in_flight):
        interpreter.complete(process, OK, None, None, 1)
    assert interpreter.poll(1).done


def test_giving_up_ends_everything_with_info_in_order_of_invocation():
    interpreter = machine(endless())
    invoked = [event.process for event in interpreter.poll(0).invocations]
    ends = interpreter.give_up(9, "the run was stopped")
    assert [event.process for event in ends] == invoked
    assert {(event.type, tuple(event.error)) for event in ends} == {
        (INFO, (NO_ANSWER, "the run was stopped"))
    }


def test_nemesis_operations_of_a_generator_keep_their_process_name():
    interpreter = machine(g.nemesis(g.repeat(g.operation("start"), 2)))
    assert [event.process for event in interpreter.poll(0).invocations] == [NEMESIS]
    interpreter.complete(NEMESIS, INFO, None, None, 1)
    assert [event.process for event in interpreter.poll(1).invocations] == [NEMESIS]


# Completions at the edge


def test_a_fail_or_info_keeps_what_was_asked():
    interpreter = machine(g.clients(g.repeat(g.operation("write", 5))), processes=1)
    interpreter.poll(0)
    assert interpreter.complete(0, FAIL, None, ["conflict", ""], 1).value == 5


@pytest.mark.parametrize(
    ("process", "type_", "words"),
    [
        (9, OK, ["process 9 is not busy"]),
        (0, "great", ["type 'great'"]),
        (9, INVOKE, ["not busy", "'invoke'"]),
    ],
)
def test_a_completion_that_cannot_be_is_refused_with_all_problems(process, type_, words):
    interpreter = machine(endless(), processes=1)
    interpreter.poll(0)
    with pytest.raises(CompletionError) as caught:
        interpreter.complete(process, type_, None, None, 1)
    assert all(word in str(caught.value) for word in words)


def test_an_answer_that_makes_no_sense_becomes_info_with_all_problems():
    def problems(invocation: Operation, value: object) -> list[str]:
        return [f"{value!r} is not 3", "and it is odd"] if value != 3 else []

    interpreter = machine(endless(), processes=1, problems=problems)
    interpreter.poll(0)
    wrong = interpreter.complete(0, OK, 5, None, 1)
    assert (wrong.type, wrong.error[0]) == (INFO, INVALID_COMPLETION)
    assert "5 is not 3; and it is odd" in wrong.error[1]
    assert interpreter.invalid == 1
    assert interpreter.poll(2).invocations[0].process == 1, "its process is replaced"
    assert interpreter.complete(1, OK, 3, None, 3).type == OK


@pytest.mark.parametrize(
    "value",
    [{1, 2}, b"bytes", math.nan, math.inf, 2**64, -(2**63) - 1, {1: 2}, [[object()]], {"a": (1, {2})}],
)
def test_what_json_cannot_carry_becomes_info(value):
    interpreter = machine(endless(), processes=1)
    interpreter.poll(0)
    event = interpreter.complete(0, OK, value, None, 1)
    assert (event.type, event.error[0]) == (INFO, INVALID_COMPLETION)


@pytest.mark.parametrize(
    "value", [None, True, 2**64 - 1, -(2**63), 1.5, "text", [1, [2]], {"a": [None]}, (1, 2)]
)
def test_what_json_can_carry_has_no_problems(value):
    assert json_problems(value) == []


def test_errors_that_json_cannot_carry_become_text():
    interpreter = machine(endless(), processes=1)
    interpreter.poll(0)
    assert isinstance(interpreter.complete(0, INFO, None, ValueError("oops"), 1).error, str)


# All together


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_clients_do_the_record_keeps_the_rules_of_histories(seed):
    """Random clients for a thousand steps; the rules are those that the journal itself enforces."""
    choose = random.Random(seed)
    plan = g.clients(
        g.time_limit(
            1e-6,
            g.stagger(
                1e-9,
                g.mix(g.repeat(read), g.each_thread([read, g.sleep(5e-9), read]), random=choose),
                random=choose,
            ),
        )
    )
    interpreter = machine(g.validate(plan), processes=choose.randint(1, 70))
    order = HistoryOrder()
    now = last = 0
    for _ in range(2000):
        poll = interpreter.poll(now)
        for event in poll.invocations:
            order.admit(event)
            assert event.time >= last
            last = event.time
            assert event.intended is None or event.intended < event.time
        if poll.done:
            break
        busy = sorted(interpreter.in_flight)
        choose.shuffle(busy)
        for process in busy[: choose.randint(0, len(busy))]:
            event = interpreter.complete(process, choose.choice([OK, FAIL, INFO]), 1, None, now)
            order.admit(event)
        now += choose.randint(1, 5)
    assert interpreter.exhausted
    for event in interpreter.give_up(now, "over"):
        order.admit(event)
    assert interpreter.poll(now + 10).done


def test_the_same_seed_and_times_give_the_same_events():
    def run() -> list[Operation]:
        stream = random.Random(3)
        interpreter = machine(
            g.clients(
                g.stagger(
                    2e-9,
                    g.mix(g.repeat(read), g.repeat(Invocation("write", 1)), random=stream),
                    random=stream,
                )
            ),
            processes=5,
        )
        events = []
        for now in range(200):
            for process in sorted(interpreter.in_flight)[: now % 3]:
                events.append(interpreter.complete(process, OK, 1, None, now))
            events += interpreter.poll(now).invocations
        return events

    assert run() == run()
    assert len(run()) > 100
