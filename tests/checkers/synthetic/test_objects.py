"""Simulated objects are linearizable by the order that they name; breaks are certain wherever they are made."""

import pytest

from checkers.linearizability.calls import call_of
from checkers.linearizability.models import model_named
from checkers.synthetic.breaks import BREAKS, NoPlace, break_object
from checkers.synthetic.objects import OBJECTS, ObjectShape, run_object


def model_of(shape):
    return (
        model_named(shape.model, permits=shape.permits)
        if shape.model == "semaphore"
        else model_named(shape.model)
    )


SHAPES = [ObjectShape(model, 300, 8, crash_share=0.05) for model in OBJECTS] + [
    ObjectShape("cas-register", 300, 8, values=5, keys=3, crash_share=0.05),
    ObjectShape("register", 300, 30, values=2, read_share=0.2),
    ObjectShape("kv", 300, 8, keys=4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.model}-{shape.keys}-{shape.values}")
def test_the_order_of_effects_explains_every_answer(shape):
    """Replayed by the checkers' own models, in an order that keeps real time, each object answers as recorded."""
    for seed in range(5):
        made = run_object(shape, seed)
        pairs = made.history().pairs()
        assert len(pairs) == 300
        states = {}
        model = model_of(shape)
        keyed = shape.keys > 0 or shape.model == "kv"
        latest = 0
        for i in made.order:
            latest = max(latest, int(made.start[i]))
            assert latest < made.end(i), f"operation {i} took effect after it was over"
            key = made.argument[i][0] if keyed else None
            state = states.get(key, model.initial_state())
            following = model.step(state, call_of(pairs[i], keyed=keyed))
            assert following, f"{shape.model}, seed {seed}: operation {i} is not possible in {state!r}"
            states[key] = following[0]  # Where a crashed operation may choose, it chooses as the store did.
        happened = set(made.order)
        assert all(i in happened for i in range(300) if made.outcome[i] == "ok")
        assert not any(i in happened for i in range(300) if made.outcome[i] == "fail")


def linearizable(model, calls, state):
    """Whether some order of the calls, crashed ones left out at will, keeps real time and follows the model."""
    if all(call.crashed for call in calls):
        return True
    first_end = min(call.end for call in calls)
    return any(
        linearizable(model, [other for other in calls if other is not call], after)
        for call in calls
        if call.start < first_end
        for after in model.step(state, call)
    )


@pytest.mark.parametrize(
    ("model", "name"), [(model, name) for model, names in BREAKS.items() for name in names]
)
def test_a_break_is_certain(model, name):
    """No order explains a history that was broken: all are tried."""
    tried = 0
    for seed in range(200):
        shape = ObjectShape(model, 9, 2, permits=1, crash_share=0.1 * (seed % 2), values=3 * (seed % 3 == 0))
        made = run_object(shape, seed)
        try:
            broken = break_object(made, name, seed)
        except NoPlace:
            continue
        assert not broken.linearizable
        judge = model_of(shape)
        calls = [
            call_of(pair, keyed=model == "kv") for pair in broken.history().pairs() if pair.type != "fail"
        ]
        assert not linearizable(judge, calls, judge.initial_state()), f"seed {seed}"
        tried += 1
        if tried == 6:
            break
    assert tried == 6, "hardly any history had a place for this break"


def test_breaks_find_their_place_in_long_histories():
    for model, names in BREAKS.items():
        for name in names:
            for crash_share in (0.0, 0.02):
                if name == "lost-element" and crash_share:
                    continue  # Some crashed operation may have taken it.
                made = run_object(ObjectShape(model, 1500, 10, crash_share=crash_share), 1)
                broken = break_object(made, name, 2)
                assert broken.anomalies == (name,)
                assert broken.answer != made.answer or broken.outcome != made.outcome


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="'teapot' is no object"):
        ObjectShape("teapot")
    with pytest.raises(ValueError, match="read_share=2"):
        ObjectShape(read_share=2)
    made = run_object(ObjectShape("set", 4, 2))
    with pytest.raises(ValueError, match="'reordered' is no way to break a set"):
        break_object(made, "reordered")
    with pytest.raises(NoPlace, match="no place was found"):
        break_object(run_object(ObjectShape("queue", 1, 1)), "reordered")


def test_a_seed_makes_one_history():
    shape = ObjectShape("cas-register", 200, values=5, crash_share=0.1)
    assert run_object(shape, 3).history().operations == run_object(shape, 3).history().operations
    assert run_object(shape, 3).history().operations != run_object(shape, 4).history().operations
