"""Transitions: what is refused, what cannot be changed, and that taking apart and putting together loses nothing."""

from dataclasses import replace

import numpy as np
import pytest

from envs.groups import group_from_name
from envs.transitions import Transitions, TransitionsError, concatenate, equal, spans

SHAPE = (4, 5, 3)


def make(start=(0, 1, 3), end=(1, 2, 4), count=5, seed=0, **changes):
    generator = np.random.default_rng(seed)
    arrays = {
        "frames": generator.integers(0, 256, (count, *SHAPE), dtype=np.uint8),
        "start": np.array(start),
        "end": np.array(end),
        "displacement": generator.normal(size=(len(start), 2)).astype(np.float32),
        "group": "R2",
        "truth": {"agent_pose": generator.normal(size=(count, 2)).astype(np.float32)},
        "touched": np.arange(len(start)) % 2 == 0,
    }
    return Transitions(**(arrays | changes))


def rows(transitions):
    """Everything that is said of each transition, whatever the order of its frames."""
    truth = transitions.truth["agent_pose"]
    return (
        transitions.observations,
        transitions.next_observations,
        transitions.displacement,
        truth[transitions.start],
        truth[transitions.end],
        transitions.touched,
    )


def assert_rows_equal(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((5, *SHAPE), np.float32)}, r"frames must be uint8 \(0 to 255\), got float32"),
        ({"frames": np.zeros((5, 4, 5), np.uint8)}, r"frames must have shape \(F, H, W, C\), got \(5, 4, 5\)"),
        ({"start": np.array([], int), "end": np.array([], int)}, "at least one transition is needed, got none"),
        ({"end": np.array([1, 2])}, r"end must have shape \(3,\), got \(2,\)"),
        ({"start": np.array([0.0, 1.0, 3.0])}, "start must be integers, got float64"),
        ({"end": np.array([1, 2, 5])}, r"end must lie in \[0, 5\), got 1 to 5"),
        ({"start": np.array([-1, 1, 3])}, r"start must lie in \[0, 5\), got -1 to 3"),
        ({"displacement": np.zeros(3, np.float32)}, r"displacement must be \(3, dim\), got \(3,\)"),
        ({"displacement": np.zeros((2, 2), np.float32)}, r"displacement must be \(3, dim\), got \(2, 2\)"),
        ({"displacement": np.full((3, 2), np.nan, np.float32)}, "displacement must be finite .* of R2"),
        ({"group": "SO2"}, r"displacement .* is no element of SO2: cos² \+ sin² must be 1"),
        ({"truth": {"agent_pose": np.zeros((3, 2))}}, r"truth\['agent_pose'\] must have 5 rows, got 3"),
        ({"touched": np.zeros(5, bool)}, r"touched must be \(3,\), got \(5,\)"),
    ],
)
def test_what_describes_no_transitions_is_refused(changes, message):
    with pytest.raises(TransitionsError, match=message):
        make(**changes)


@pytest.mark.parametrize("name", ["frames", "start", "end", "displacement", "touched"])
def test_arrays_are_read_only(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(make(), name)[0] = 0


def test_truth_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        make().truth["agent_pose"][0] = 0


def test_observations_are_the_frames_at_start_and_end():
    transitions = make()
    assert len(transitions) == 3
    np.testing.assert_array_equal(transitions.observations, transitions.frames[[0, 1, 3]])
    np.testing.assert_array_equal(transitions.next_observations, transitions.frames[[1, 2, 4]])
    transitions.observations[:] = 0  # a copy, so what is done to it stays there
    assert transitions.frames.any()


@pytest.mark.parametrize(
    "chosen", [np.array([2]), np.array([2, 0]), np.array([1, 1]), np.array([True, False, True]), np.arange(3)]
)
def test_selected_transitions_are_those_rows(chosen):
    transitions = make()
    selected = transitions.select(chosen)
    assert_rows_equal(rows(selected), [values[chosen] for values in rows(transitions)])


def test_selection_keeps_the_frames_it_needs_and_no_other():
    transitions = make()
    assert len(transitions.select(np.array([0, 1])).frames) == 3, "consecutive transitions share a frame"
    assert len(transitions.select(np.array([2])).frames) == 2


def test_selection_of_nothing_is_refused():
    with pytest.raises(TransitionsError, match="at least one transition"):
        make().select(np.zeros(3, bool))


def test_concatenation_holds_all_rows_in_order():
    parts = [make(seed=1), make(start=(1, 0), end=(0, 1), count=2, seed=2), make(seed=3)]
    whole = concatenate(parts)
    assert len(whole.frames) == 12
    assert_rows_equal(rows(whole), [np.concatenate(values) for values in zip(*map(rows, parts), strict=True)])


def test_selection_undoes_concatenation():
    parts = [make(seed=1), make(seed=2)]
    whole = concatenate(parts)
    assert equal(whole.select(np.arange(3)), parts[0])
    assert equal(whole.select(np.arange(3, 6)), parts[1])


@pytest.mark.parametrize(
    "other",
    [
        make(group="R3", displacement=np.zeros((3, 3), np.float32)),
        make(frames=np.zeros((5, 8, 8, 3), np.uint8)),
        make(truth={}),
        make(touched=None),
    ],
    ids=["group", "frame shape", "truth", "touched"],
)
def test_sets_of_different_kinds_are_not_concatenated(other):
    with pytest.raises(TransitionsError, match="must have the same group, frame shape, truth and actions"):
        concatenate([make(), other])


def test_no_sets_are_not_concatenated():
    with pytest.raises(TransitionsError, match="at least one set"):
        concatenate([])


def test_equal_sets_are_equal():
    assert equal(make(), make())
    assert equal(make(touched=None), make(touched=None))


def changed(array, position):
    array = array.copy()
    array[position] += 1
    return array


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": changed(make().frames, (4, 3, 4, 2))},
        {"start": np.array([0, 1, 2])},
        {"end": np.array([1, 2, 3])},
        {"displacement": np.nextafter(make().displacement, np.float32(9))},
        {"group": "R1xR1"},
        {"truth": {"agent_pose": changed(make().truth["agent_pose"], (4, 1))}},
        {"truth": {"object_pose": make().truth["agent_pose"]}},
        {"touched": np.array([True, True, True])},
        {"touched": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_sets_that_differ_anywhere_are_not_equal(changes):
    assert not equal(make(), replace(make(), **changes))
    assert not equal(replace(make(), **changes), make())


def test_the_fingerprint_is_of_what_is_learned_from() -> None:
    one = make()
    assert one.fingerprint == make().fingerprint
    assert one.fingerprint != replace(one, displacement=one.displacement + 1).fingerprint
    assert one.fingerprint == replace(one, touched=None, truth={}).fingerprint, "truths are not learned from"


def test_spans_add_up_displacements():
    frames = np.zeros((7, 2, 2, 3), np.uint8)
    move = np.arange(10, dtype=np.float32).reshape(5, 2)
    start, end = np.array([0, 1, 2, 4, 5]), np.array([1, 2, 3, 5, 6])
    got = spans(Transitions(frames, start, end, move, "R2"), 3)
    expected = {(0, 2): move[0] + move[1], (1, 3): move[1] + move[2], (4, 6): move[3] + move[4]}
    expected |= {(0, 3): move[:3].sum(0)} | {(s, e): m for s, e, m in zip(start, end, move, strict=True)}
    assert len(got[0]) == len(expected), "none across the gap between frames 3 and 4"
    for first, last, total in zip(*got, strict=True):
        np.testing.assert_allclose(total, expected[first, last])


def test_spans_where_paths_cross_go_on_along_both():
    start, end = np.array([0, 1, 2, 2]), np.array([2, 2, 3, 4])
    crossing = Transitions(np.zeros((5, 2, 2, 3), np.uint8), start, end, np.ones((4, 2), np.float32), "R2")
    begins, ends, _ = spans(crossing, 2)
    assert sorted(zip(begins[4:].tolist(), ends[4:].tolist(), strict=True)) == [(0, 3), (1, 4)]


def test_spans_compose_in_the_order_of_the_walk():
    """Turns in space do not commute: the later one goes on the left."""
    group, generator = group_from_name("SO3"), np.random.default_rng(0)
    turns = group.random(generator, 3).astype(np.float32)
    start = np.arange(3)
    walk = Transitions(np.zeros((4, 2, 2, 3), np.uint8), start, start + 1, turns, "SO3")
    begins, ends, totals = spans(walk, 3)
    whole = totals[(begins == 0) & (ends == 3)][0]
    first, second, third = (turn.reshape(3, 3) for turn in turns)
    np.testing.assert_allclose(whole.reshape(3, 3), third @ second @ first, atol=1e-6)
