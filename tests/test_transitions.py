"""Transitions: what is refused, what cannot be changed, and that taking apart and putting together loses nothing."""

from dataclasses import replace

import numpy as np
import pytest
from equiact.envs.data.trajectories import n_step_transitions
from equiact.envs.data.transitions import Transitions, TransitionsError, concatenate, equal
from equiact.envs.data.transitions_checks import ContentLimits, content_problems
from equiact.envs.lie_groups.registry import group_from_name

SHAPE = (4, 5, 3)


def make(start=(0, 1, 3), end=(1, 2, 4), count=5, seed=0, **changes):
    generator = np.random.default_rng(seed)
    arrays = {
        "frames": generator.integers(0, 256, (count, *SHAPE), dtype=np.uint8),
        "start": np.array(start),
        "end": np.array(end),
        "displacement": generator.normal(size=(len(start), 2)).astype(np.float32),
        "group": "R2",
        "ground_truth": {"agent_pose": generator.normal(size=(count, 2)).astype(np.float32)},
        "touched": np.arange(len(start)) % 2 == 0,
    }
    return Transitions(**(arrays | changes))


def rows(transitions):
    """Everything that is said of each transition, whatever the order of its frames."""
    ground_truth = transitions.ground_truth["agent_pose"]
    return (
        transitions.observations,
        transitions.next_observations,
        transitions.displacement,
        ground_truth[transitions.start],
        ground_truth[transitions.end],
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
        ({"displacement": np.zeros(3, np.float32)}, r"displacement must have shape \(3, dim\), got \(3,\)"),
        ({"displacement": np.zeros((2, 2), np.float32)}, r"displacement must have shape \(3, dim\), got \(2, 2\)"),
        ({"displacement": np.full((3, 2), np.nan, np.float32)}, "displacement must be finite .* of R2"),
        ({"group": "SO2"}, r"displacement .* is no element of SO2: cos² \+ sin² must be 1"),
        (
            {"ground_truth": {"agent_pose": np.zeros((3, 2))}},
            r"ground_truth\['agent_pose'\] must have shape \(5, \.\.\.\), got \(3, 2\)",
        ),
        ({"touched": np.zeros(5, bool)}, r"touched must have shape \(3,\), got \(5,\)"),
        ({"touched": np.zeros(3)}, "touched must be bool, got float64"),
        ({"frames": [[1]]}, "frames must be a NumPy array, got list"),
        ({"touched": [True] * 3}, "touched must be a NumPy array, got list"),
        ({"displacement": [[0.0, 0.0]] * 3}, "displacement must be a NumPy array, got list"),
        ({"displacement": np.zeros((3, 2), complex)}, "displacement must be real numbers, got complex128"),
        ({"displacement": np.zeros((3, 2), object)}, "displacement must be real numbers, got object"),
        ({"displacement": np.full((3, 2), "1")}, "displacement must be real numbers, got <U1"),
        ({"displacement": np.full((3, 2), 1e300)}, "displacement must be finite .* of R2, got inf"),
        ({"displacement": np.zeros((3, 0))}, r"displacement must have no axis of length zero, got shape \(3, 0\)"),
        ({"action": np.zeros((3, 0))}, r"action must have no axis of length zero, got shape \(3, 0\)"),
        ({"action": np.full((3, 1), 1e300)}, "action must be finite"),
        ({"action": np.full((3, 1), np.nan)}, "action must be finite"),
        ({"action": np.zeros((3, 1), object)}, "action must be real numbers, got object"),
        ({"frames": np.zeros((5, 0, 5, 3), np.uint8)}, r"frames must have no axis of length zero, got shape \(5, 0"),
        ({"ground_truth": {"x": np.zeros((5, 0))}}, r"ground_truth\['x'\] must have no axis of length zero"),
        ({"ground_truth": {"x": np.zeros(5, object)}}, r"ground_truth\['x'\] must be real numbers or bool, got object"),
        ({"ground_truth": {"x": np.array(1.0)}}, r"ground_truth\['x'\] must have shape \(5, \.\.\.\), got \(\)"),
        ({"group": None}, "the name of a group must be text"),
    ],
)
def test_what_describes_no_transitions_is_refused(changes, message):
    with pytest.raises(TransitionsError, match=message):
        make(**changes)


@pytest.mark.parametrize("name", ["frames", "start", "end", "displacement", "touched"])
def test_arrays_are_read_only(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(make(), name)[0] = 0


def test_the_arrays_of_the_caller_stay_writable():
    move = make().displacement.copy()
    assert np.shares_memory(make(displacement=move).displacement, move), "not copied"
    move[0] = 0


def test_arrays_get_the_documented_types():
    one = make()
    other = make(
        start=one.start.astype(np.uint8),
        end=one.end.astype(">i4"),
        displacement=one.displacement.astype(float),
        action=np.ones((3, 2), int),
        ground_truth={"agent_pose": one.ground_truth["agent_pose"].astype(np.float16)},
    )
    types = [getattr(other, name).dtype for name in ("start", "end", "displacement", "action")]
    assert types == [np.int64, np.int64, np.float32, np.float32]
    assert other.ground_truth["agent_pose"].dtype == np.float16, "kept as it is"
    assert replace(other, action=None).fingerprint == one.fingerprint == "fa245998"


def test_the_representation_is_short():
    assert repr(make()) == "Transitions(3, frames=(5, 4, 5, 3), group='R2')"


def test_truth_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        make().ground_truth["agent_pose"][0] = 0


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
        make(ground_truth={}),
        make(touched=None),
    ],
    ids=["group", "frame shape", "ground_truth", "touched"],
)
def test_sets_of_different_kinds_are_not_concatenated(other):
    with pytest.raises(TransitionsError, match="must have the same group, frame shape, ground truth and actions"):
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
        {"ground_truth": {"agent_pose": changed(make().ground_truth["agent_pose"], (4, 1))}},
        {"ground_truth": {"object_pose": make().ground_truth["agent_pose"]}},
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
    assert one.fingerprint == replace(one, touched=None, ground_truth={}).fingerprint, "truths are not learned from"


def test_spans_add_up_displacements():
    frames = np.zeros((7, 2, 2, 3), np.uint8)
    move = np.arange(10, dtype=np.float32).reshape(5, 2)
    start, end = np.array([0, 1, 2, 4, 5]), np.array([1, 2, 3, 5, 6])
    got = n_step_transitions(Transitions(frames, start, end, move, "R2"), 3)
    expected = {(0, 2): move[0] + move[1], (1, 3): move[1] + move[2], (4, 6): move[3] + move[4]}
    expected |= {(0, 3): move[:3].sum(0)} | {(s, e): m for s, e, m in zip(start, end, move, strict=True)}
    assert len(got[0]) == len(expected), "none across the gap between frames 3 and 4"
    for first, last, total in zip(*got, strict=True):
        np.testing.assert_allclose(total, expected[first, last])


def test_spans_where_paths_cross_go_on_along_both():
    start, end = np.array([0, 1, 2, 2]), np.array([2, 2, 3, 4])
    crossing = Transitions(np.zeros((5, 2, 2, 3), np.uint8), start, end, np.ones((4, 2), np.float32), "R2")
    begins, ends, _ = n_step_transitions(crossing, 2)
    assert sorted(zip(begins[4:].tolist(), ends[4:].tolist(), strict=True)) == [(0, 3), (1, 4)]


def test_spans_compose_in_the_order_of_the_walk():
    """Turns in space do not commute: the later one goes on the left."""
    group, generator = group_from_name("SO3"), np.random.default_rng(0)
    turns = group.random(generator, 3).astype(np.float32)
    start = np.arange(3)
    walk = Transitions(np.zeros((4, 2, 2, 3), np.uint8), start, start + 1, turns, "SO3")
    begins, ends, totals = n_step_transitions(walk, 3)
    whole = totals[(begins == 0) & (ends == 3)][0]
    first, second, third = (turn.reshape(3, 3) for turn in turns)
    np.testing.assert_allclose(whole.reshape(3, 3), third @ second @ first, atol=1e-6)


def test_views_are_copied() -> None:
    """BGR to RGB and the like are views with negative strides, which torch refuses."""
    one = make()
    viewed = make(frames=one.frames[..., ::-1], displacement=one.displacement[::-1], start=one.start[::-1])
    for name in ("frames", "displacement", "start"):
        assert getattr(viewed, name).flags.c_contiguous
    np.testing.assert_array_equal(viewed.frames, one.frames[..., ::-1])
    truths = make(ground_truth={"agent_pose": one.ground_truth["agent_pose"][:, ::-1]}).ground_truth
    assert truths["agent_pose"].flags.c_contiguous


def many(count=64, side=16, **changes):
    generator, start = np.random.default_rng(0), np.arange(count)
    arrays = {
        "frames": generator.integers(0, 256, (count + 1, side, side, 3), dtype=np.uint8),
        "displacement": generator.normal(size=(count, 2)).astype(np.float32),
    }
    return Transitions(**(arrays | {"start": start, "end": start + 1, "group": "R2"} | changes))


def outlier(count=64):
    displacement = many(count).displacement.copy()
    displacement[7] = 1e8
    return displacement


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (many(side=1), "frames have 1x1 pixels, less than 8x8; raise the resolution"),
        (many(displacement=np.zeros((64, 2), np.float32)), "all displacements are the identity: nothing moved"),
        (many(displacement=outlier()), "the displacement of transition 7 is 1e+08 times as large as the median"),
        (many(frames=np.full((65, 16, 16, 3), 7, np.uint8)), "all frames are alike"),
        (
            many(displacement=np.tile(np.array([1.0, 0.0], np.float32), (64, 1)), group="SO2"),
            "all displacements are the identity",
        ),
    ],
    ids=["1x1", "zero", "outlier", "constant", "turns by nothing"],
)
def test_useless_content_is_found(data, message):
    (problem,) = content_problems(data)
    assert message in problem


def test_steps_that_were_blocked_are_no_measure_of_outliers():
    displacement = many().displacement.copy()
    displacement[1:40] = 1e-15
    assert content_problems(many(displacement=displacement)) == []


def test_bounds_of_content_are_configured():
    assert content_problems(many()) == []
    assert content_problems(many(side=4), ContentLimits(min_side=4)) == []
    assert content_problems(many(displacement=outlier()), ContentLimits(max_outlier=1e9)) == []


# Episodes


def episode(steps=3, seed=0, **changes):
    generator = np.random.default_rng(seed)
    arrays = {
        "images": generator.integers(0, 256, (steps + 1, *SHAPE), dtype=np.uint8),
        "displacement": generator.normal(size=(steps, 2)),
    }
    return {name: values for name, values in (arrays | changes).items() if values is not None}


def rich(steps, seed):
    generator = np.random.default_rng(seed)
    truth = {"pose": generator.normal(size=(steps + 1, 2)), "label": np.full(steps + 1, seed)}
    touched, action = np.arange(steps) % 2 == 0, generator.normal(size=(steps, 4))
    return episode(steps, seed, ground_truth=truth, touched=touched, action=action)


def test_episodes_become_transitions() -> None:
    given = [rich(3, 0), rich(1, 1), rich(2, 2)]
    got = Transitions.from_episodes((each for each in given), "R2")
    assert got.start.tolist() == [0, 1, 2, 4, 6, 7]
    assert got.end.tolist() == [1, 2, 3, 5, 7, 8]
    assert got.group == "R2"
    np.testing.assert_array_equal(got.frames, np.concatenate([each["images"] for each in given]))
    for name in ("displacement", "action"):
        expected = np.concatenate([each[name] for each in given]).astype(np.float32)
        np.testing.assert_array_equal(getattr(got, name), expected)
    assert got.touched.tolist() == [True, False, True, True, True, False]
    assert got.ground_truth["label"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]


def test_the_episodes_of_the_caller_stay_as_they_were() -> None:
    given = rich(2, 0)
    before = {name: np.copy(given[name]) for name in ("images", "displacement", "touched", "action")}
    Transitions.from_episodes([given, given], "R2")
    assert set(given) == {*before, "ground_truth"}
    assert all(np.array_equal(given[name], values) and given[name].flags.writeable for name, values in before.items())


def test_an_episode_without_a_transition_is_left_out() -> None:
    nothing = episode(displacement=np.zeros((0, 2)), images=np.zeros((0, *SHAPE), np.uint8))
    with pytest.warns(UserWarning, match="episode [12] has no transition, and is left out") as warned:
        got = Transitions.from_episodes([episode(), episode(0), nothing, episode(2)], "R2")
    assert len(warned) == 2
    assert warned[0].filename == __file__
    assert (len(got), len(got.frames)) == (5, 7)


def test_channel_first_images_need_an_argument() -> None:
    first = episode(images=np.moveaxis(episode()["images"], -1, 1))
    with pytest.raises(TransitionsError, match=r"channels last.*got \(3, 4, 5\).*pass channel_first=True"):
        Transitions.from_episodes([first], "R2")
    last = {**first, "images": np.zeros((len(first["images"]), 6, 5, 3), np.uint8)}
    with pytest.raises(TransitionsError, match=r"channels first.*got \(6, 5, 3\).*leave channel_first=True out"):
        Transitions.from_episodes([last], "R2", channel_first=True)
    got = Transitions.from_episodes([first], "R2", channel_first=True)
    assert equal(got, Transitions.from_episodes([episode()], "R2"))


@pytest.mark.filterwarnings("ignore:episode 0 has no transition")
@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "expected an episode with two images or more, got none"),
        ([episode(0)], "expected an episode with two images or more, got none"),
        ([np.zeros(3)], "episode 0 must map names to arrays, got ndarray"),
        ([episode(), episode(image=0)], "episode 1 has the unknown key 'image'; the keys are images, displacement,"),
        ([episode(displacement=None)], "episode 0 has no 'displacement'"),
        ([episode(images=np.zeros((4, *SHAPE)))], r"images must be uint8 \(0 to 255\), got float64; convert them"),
        ([episode(images=np.zeros((4, 5, 6), np.uint8))], r"got the shape \(4, 5, 6\); add an axis for the channel"),
        ([episode(displacement=np.zeros(3))], r"displacement must have shape \(T, dim\), got \(3,\)"),
        ([episode(displacement=np.zeros((4, 2)))], r"4 images and as many displacements.*displacement\[:-1\]"),
        ([episode(displacement=np.zeros((2, 2)))], "has 2 displacements and 4 images, not one more"),
        ([episode(touched=np.zeros(4, bool))], r"touched must have one entry for each displacement, 3 of them"),
        ([episode(ground_truth=np.zeros(4))], "ground_truth must map names to arrays, got ndarray"),
        ([episode(ground_truth={"p": np.zeros(3)})], r"ground_truth\['p'\] must have one entry for each image, 4 of"),
        ([episode(), episode(images=np.zeros((4, 8, 8, 3), np.uint8))], r"episode 1 differs .* in images: expected"),
        ([episode(), episode(touched=np.zeros(3, bool))], "episode 1 differs from the first one in the rest"),
        ([episode(), episode(displacement=np.zeros((3, 3)))], "episode 1 differs from the first one in the rest"),
        ([episode(displacement=np.full((3, 2), np.nan))], "displacement must be finite"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(episodes, message) -> None:
    with pytest.raises(TransitionsError, match=message):
        Transitions.from_episodes(episodes, "R2")
