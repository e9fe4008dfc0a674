"""The group of actions of unknown effect: latents, images, counting, hand-over to encoders, the command."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.registry import group_from_name
from equiact.representations.analysis.symmetry.action_data import (
    ActionData,
    load_action_data,
    save_action_data,
    split_actions,
)
from equiact.representations.analysis.symmetry.action_encoder import (
    ActionEncoder,
    ActionEncoderConfig,
    discover_action_group,
    train_action_encoder,
)
from equiact.representations.analysis.symmetry.action_group import (
    ActionGroup,
    ActionGroupConfig,
    action_matrices,
    group_of_actions,
)
from equiact.representations.analysis.symmetry.finite_groups import FiniteGroup, GroupTableError
from equiact.representations.analysis.symmetry.group_catalogue import (
    catalogue,
    extend_isomorphism,
    identify,
)
from equiact.representations.analysis.symmetry.group_constructors import (
    alternating_group,
    cyclic_group,
    dihedral_group,
    quaternion_group,
    symmetric_group,
)
from equiact.representations.analysis.symmetry.group_handover import (
    TableGroup,
    group_for_encoders,
    register_table_group,
    transitions_of_actions,
)
from equiact.representations.analysis.symmetry.group_recovery import (
    DiscoveredGroup,
    NoGroupFoundError,
)
from equiact.representations.analysis.symmetry.irreducible_representations import (
    regular_representation,
)
from equiact.representations.analysis.symmetry.state_matching import group_of_matched_states, match_states
from equiact.representations.learning.config import OptimConfig
from equiact.scripts.analyses.analyze_symmetry import AnalyzeSymmetry
from equiact.scripts.benchmarks.instruments.symmetry_images import make_world, sample_actions
from finite_group_cases import ALL, lamp_data, named, relabelled

# -------------------------------------------------------------------------------------------------------------- latents


def acted(
    group: FiniteGroup, actions: tuple[int, ...], count: int, noise: float, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Return vectors of the regular representation before and after random actions, mixed by a random matrix."""
    generator = np.random.default_rng(seed)
    mix = np.linalg.qr(generator.normal(size=(group.order, group.order)))[0] * generator.uniform(0.5, 2, group.order)
    x = generator.normal(size=(count, group.order))
    label = generator.integers(len(actions), size=count)
    y = np.einsum("xij,xj->xi", regular_representation(group)[np.array(actions)[label]], x)
    noisy = [each @ mix + noise * generator.normal(size=each.shape) for each in (x, y)]
    return noisy[0], label, noisy[1]


@named([each for each in ALL if 1 < each[1].order <= 24])
def test_generators_are_enough_to_recover_the_group(name: str, group: FiniteGroup) -> None:
    recovered = group_of_actions(*acted(group, group.generators, 600, noise=0.05))
    assert recovered.found.name == name
    orders = recovered.found.group.orders[recovered.elements]
    assert orders.tolist() == group.orders[list(group.generators)].tolist()


def test_the_elements_of_the_actions_satisfy_their_relations() -> None:
    recovered = group_of_actions(*acted(dihedral_group(4), (1, 4, 1, 0), 800, noise=0.05))
    r, f, again, nothing = recovered.elements.tolist()
    table = recovered.found.table
    assert again == r and nothing == 0 and table[f, f] == 0
    assert table[table[f, r], f] == recovered.found.group.inverses[r]


def test_actions_that_do_nothing_generate_the_trivial_group() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    recovered = group_of_actions(points, np.zeros(50, int), points)
    assert recovered.found.name == "C1" and recovered.elements.tolist() == [0]


def test_actions_of_no_finite_group_and_of_no_effect_on_the_latents_are_refused() -> None:
    generator = np.random.default_rng(0)
    x, label = generator.normal(size=(400, 2)), np.zeros(400, int)
    golden = np.pi * (5**0.5 - 1)  # the angle that is worst approximated by fractions of a turn
    turn = np.array([[np.cos(golden), np.sin(golden)], [-np.sin(golden), np.cos(golden)]])
    with pytest.raises(NoGroupFoundError, match=r"margin of at least 0\.75, got at most 0\.[0-3]"):
        group_of_actions(x, label, x @ turn)
    with pytest.raises(NoGroupFoundError, match="expected directions of the latents that each action predicts"):
        group_of_actions(x, label, generator.normal(size=(400, 2)))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(NoGroupFoundError, match="at most 3 elements"):
        group_of_actions(x, label, x @ turn, ActionGroupConfig(max_order=3))


@pytest.mark.parametrize(
    ("order", "moves", "harmonic", "noise"),
    [(6, (1, 5, 3), 2, 1.5), (5, (1,), 2, 1.2), (7, (1,), 3, 0.8)],
    ids=["C6", "C5", "C7"],
)
@pytest.mark.parametrize("seed", range(3))
def test_half_of_a_plane_that_is_turned_is_not_taken_for_a_mirror(
    order: int, moves: tuple[int, ...], harmonic: int, noise: float, seed: int
) -> None:
    """One direction of the second plane is drowned in noise; turns beyond 90° change the sign of the other one."""
    generator = np.random.default_rng(seed)
    pose, action = generator.integers(order, size=1500), generator.integers(len(moves), size=1500)

    def latents(poses: np.ndarray) -> np.ndarray:
        angles = 2 * np.pi / order * np.outer(poses, [1, 1, harmonic, harmonic]) - np.array([0, np.pi / 2] * 2)
        return np.cos(angles) + generator.normal(size=angles.shape) * [0.05, 0.05, 0.6, noise]

    recovered = group_of_actions(latents(pose), action, latents((pose + np.array(moves)[action]) % order))
    assert recovered.found.name == f"C{order}"
    known = ActionGroup(DiscoveredGroup(cyclic_group(order), f"C{order}", 1.0), np.array(moves))
    assert recovered.agrees_with(known)


def test_directions_that_stay_fixed_do_not_show_that_actions_have_no_effect() -> None:
    """The class is predicted, and the effect of the action is hidden: the answer is not the trivial group."""
    generator = np.random.default_rng(0)
    kind, label = generator.normal(size=(400, 1)), np.zeros(400, int)
    before, after = (np.concatenate([kind, generator.normal(size=(400, 2))], 1) for _ in range(2))
    with pytest.raises(NoGroupFoundError, match="expected directions of the latents"):
        group_of_actions(before, label, after)
    assert group_of_actions(kind, label, kind).found.name == "C1"


def test_groups_of_actions_agree_up_to_isomorphisms_that_respect_the_actions() -> None:
    def recovered(group: FiniteGroup, *elements: int) -> ActionGroup:
        return ActionGroup(DiscoveredGroup(group, identify(group), 1.0), np.array(elements))

    turn_and_mirror = recovered(dihedral_group(4), 1, 4)
    assert turn_and_mirror.agrees_with(recovered(dihedral_group(4), 3, 6))
    assert turn_and_mirror.agrees_with(recovered(relabelled(dihedral_group(4), [5, 7, 0, 1, 2, 3, 4, 6]), 7, 2))
    assert not turn_and_mirror.agrees_with(recovered(dihedral_group(4), 4, 1))
    assert not turn_and_mirror.agrees_with(recovered(dihedral_group(4), 1))
    assert not turn_and_mirror.agrees_with(recovered(dihedral_group(8), 2, 8))


def test_directions_that_no_action_predicts_are_dropped() -> None:
    before, label, after = acted(dihedral_group(3), (1, 3), 1000, noise=0.0)
    generator = np.random.default_rng(1)
    extra = [np.concatenate([each, 5 * generator.normal(size=(1000, 4))], 1) for each in (before, after)]
    assert action_matrices(extra[0], label, extra[1])[0].shape[1] == 5  # six less the fixed vector
    assert group_of_actions(extra[0], label, extra[1]).found.name == "D3"


@pytest.mark.parametrize(
    ("before", "action", "after", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4, int), np.zeros((4, 3)), "shape"),
        (np.zeros((4, 2)), np.zeros(4), np.zeros((4, 2)), "whole numbers"),
        (np.zeros((4, 2)), np.full(4, -1), np.zeros((4, 2)), "whole numbers"),
        (np.full((4, 2), np.inf), np.zeros(4, int), np.zeros((4, 2)), "finite"),
        (np.zeros((4, 2)), np.array([0, 0, 2, 2]), np.zeros((4, 2)), "at least 4 times, got action 1 0 times"),
    ],
)
def test_latents_that_do_not_fit_are_refused(
    before: np.ndarray, action: np.ndarray, after: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        group_of_actions(before, action, after)


# ----------------------------------------------------------------------------------------------------- images, counting


def test_counting_recovers_the_group_where_states_repeat() -> None:
    recovered = group_of_matched_states(lamp_data())
    assert recovered.found.name == "D4" and recovered.found.margin == 1
    orders = recovered.found.group.orders[recovered.elements]
    assert orders.tolist() == [4, 2]


def test_counting_finds_what_actions_do_one_after_another() -> None:
    data, group = lamp_data(), dihedral_group(4)
    states, poses = np.unique(data.frames.reshape(64, -1), axis=0, return_inverse=True)
    maps = np.zeros((3, 8), int)
    for action in range(2):
        after = (data.next_frames.reshape(64, 1, -1) == states).all(2).argmax(1)
        maps[action, poses.ravel()[data.actions == action]] = after[data.actions == action]
    maps[2] = maps[0][maps[1]]  # first the reflection, then the rotation
    actions, before = (each.ravel() for each in np.indices((3, 8)))
    frames = states.reshape(8, 16, 16, 1)
    recovered = group_of_matched_states(ActionData(*(frames[before], actions, frames[maps[actions, before]])))
    turn, mirror, both = recovered.elements.tolist()
    assert recovered.found.table[turn, mirror] == both != recovered.found.table[mirror, turn]
    assert extend_isomorphism(group, recovered.found.group, (1, 4), (turn, mirror)) is not None


def test_counting_survives_noise_that_is_smaller_than_the_differences() -> None:
    assert group_of_matched_states(lamp_data(256, noise=10.0)).found.name == "D4"


def test_counting_refuses_states_that_were_not_tried_and_maps_that_are_not_one_to_one() -> None:
    data = lamp_data(64)
    kept = ~((data.actions == 0) & (np.arange(64) // 2 % 8 == 3))
    with pytest.raises(NoGroupFoundError, match="action 0 was not tried in state"):
        group_of_matched_states(ActionData(data.frames[kept], data.actions[kept], data.next_frames[kept]))
    same = np.broadcast_to(data.frames[:1], data.frames.shape)
    with pytest.raises(NoGroupFoundError, match="does not permute the 8 states"):
        group_of_matched_states(ActionData(data.frames, data.actions, np.ascontiguousarray(same)))
    with pytest.raises(ValueError, match="at most 8000"):
        match_states(np.zeros((8001, 1)))


@pytest.mark.parametrize("name", ["C6", "D4", "C2xC2xC2"])
def test_counting_recovers_the_groups_of_the_benchmark_from_equal_images(name: str) -> None:
    world = make_world(name)
    known = ActionGroup(DiscoveredGroup(world.group, name, 1.0), np.array(world.actions))
    assert group_of_matched_states(sample_actions(world, 500, disturbed=False, seed=0)).agrees_with(known)


@pytest.mark.parametrize(("name", "action"), [("C6", 0), ("D4", 1), ("C2xC2xC2", 2)])
def test_linear_maps_of_pixels_give_the_element_of_each_action(name: str, action: int) -> None:
    world = make_world(name)
    data = sample_actions(world, 800, disturbed=False, seed=1)
    before, after = (frames.reshape(len(data), -1) / 255 for frames in (data.frames, data.next_frames))
    recovered = group_of_actions(before, data.actions, after)
    assert recovered.found.name == name == identify(world.group)
    assert recovered.found.group.orders[recovered.elements[action]] == world.group.orders[world.actions[action]]


def test_data_are_saved_loaded_and_checked(tmp_path: Path) -> None:
    data = lamp_data()
    save_action_data(tmp_path / "transitions.npz", data)
    again = load_action_data(tmp_path)
    assert (again.frames == data.frames).all() and (again.actions == data.actions).all() and len(again) == 64
    with pytest.raises(ValueError, match="does not exist"):
        load_action_data(tmp_path / "other.npz")
    np.savez(tmp_path / "half.npz", frames=data.frames, actions=data.actions)
    with pytest.raises(ValueError, match="got no next_frames"):
        load_action_data(tmp_path / "half.npz")
    np.save(tmp_path / "one.npy", data.frames)
    with pytest.raises(ValueError, match="expected an NPZ file"):
        load_action_data(tmp_path / "one.npy")
    for change, message in (
        ({"frames": data.frames.astype(float)}, "uint8"),
        ({"frames": data.frames[..., 0]}, "of one shape"),
        ({"actions": data.actions[:-1]}, "of integers"),
        ({"actions": data.actions - 1}, "got numbers from -1 to 0"),
        ({"actions": data.actions + 1023}, "got numbers from 1023 to 1024"),
        ({"actions": 2 * data.actions}, "got no action 1; number the actions without gaps"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(data, **change)


def test_a_split_keeps_transitions_together_and_holds_out_each_action() -> None:
    data = lamp_data(64)
    training, held_out = split_actions(data, 0.25, seed=1)
    assert len(training) == 48 and np.bincount(held_out.actions).tolist() == [8, 8]
    rows = {(a, f.tobytes(), g.tobytes()) for a, f, g in zip(data.actions, data.frames, data.next_frames, strict=True)}
    for part in (training, held_out):
        assert {
            (a, f.tobytes(), g.tobytes()) for a, f, g in zip(part.actions, part.frames, part.next_frames, strict=True)
        } <= rows
    few = ActionData(data.frames[:6], data.actions[:6], data.next_frames[:6])
    with pytest.raises(ValueError, match="at least 4 times, so that 1 of its transitions are held out, got action 0 3"):
        split_actions(few, 0.25, 0)
    assert [len(part) for part in split_actions(few, 0.4, 0)] == [4, 2]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.7])
def test_as_many_transitions_are_held_out_as_asked_for_or_refused(share: float) -> None:
    images = np.zeros((100, 1, 1, 1), np.uint8)
    for count in range(1, 100):
        data = ActionData(images[:count], np.zeros(count, int), images[:count])
        if count * share >= 6 - 1e-9:
            training, held_out = split_actions(data, share, 0, least=6)
            assert len(held_out) == int(share * count + 1e-9) and len(training) > 0
        else:
            with pytest.raises(ValueError, match="so that 6 of its transitions are held out"):
                split_actions(data, share, 0, least=6)


def test_an_encoder_needs_as_many_held_out_transitions_as_the_latent_has_coordinates() -> None:
    config = ActionEncoderConfig(optim=OptimConfig(steps=1, batch_size=8))
    with pytest.raises(ValueError, match=r"each action at least 64 times, so that 16 .* got action 1 63 times"):
        discover_action_group(lamp_data(127), config)
    with pytest.raises(NoGroupFoundError):  # enough of them, for an encoder that is not trained
        discover_action_group(lamp_data(128), config)


def test_on_four_transitions_a_quarter_turn_is_no_half_turn() -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert group_of_actions(points, np.zeros(4, int), points @ turn.T).found.name == "C4"
    with pytest.raises(ValueError, match="at least 4 times, got action 0 3 times"):
        group_of_actions(points[:3], np.zeros(3, int), points[:3] @ turn.T)


def test_an_encoder_learns_the_group_of_actions_from_images() -> None:
    config = ActionEncoderConfig(optim=OptimConfig(steps=120, lr=3e-3, batch_size=64))
    recovered = discover_action_group(lamp_data(512), config, seed=0)
    assert recovered.found.name == "D4" and recovered.found.margin > 0.6
    assert recovered.found.group.orders[recovered.elements].tolist() == [4, 2]


def test_an_untrained_encoder_encodes_unit_vectors_and_training_is_reproducible() -> None:
    data, config = lamp_data(16), ActionEncoderConfig(optim=OptimConfig(steps=2, batch_size=8))
    latents = ActionEncoder((16, 16, 1), 2, config).encode(data.frames)
    assert latents.shape == (16, 16) and np.allclose(np.linalg.norm(latents, axis=1), 1)
    once, twice = (train_action_encoder(data, config, seed=5) for _ in range(2))
    assert torch.equal(once.matrices, twice.matrices) and not once.training


# ------------------------------------------------------------------------------------------------------------ hand-over


@named([each for each in ALL if 1 < each[1].order <= 12])
def test_encoders_get_the_group_with_elements_that_multiply_as_in_the_table(name: str, group: FiniteGroup) -> None:
    labels = np.random.default_rng(0).permutation(group.order)
    found = relabelled(group, labels)
    registered, elements = group_for_encoders(found, name)
    acting = group_from_name(registered)
    assert registered == name and np.allclose(acting.validate(elements), elements)
    products = acting.compose(elements[:, None], elements[None])
    assert np.allclose(products, elements[found.table], atol=1e-9)
    assert np.allclose(acting.compose(elements, acting.inverse(elements)), acting.identity(), atol=1e-9)


@pytest.mark.parametrize("make", [lambda: dihedral_group(4), quaternion_group, lambda: symmetric_group(4)])
def test_a_table_group_satisfies_the_axioms_of_encoders(make: object) -> None:
    group = TableGroup(make(), "X")  # type: ignore[operator]
    generator = np.random.default_rng(0)
    g, h, k = (group.random(generator, 20) for _ in range(3))
    assert np.allclose(group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)))
    assert np.allclose(group.squared_distance(group.compose(k, g), group.compose(k, h)), group.squared_distance(g, h))
    raw = torch.randn(20, group.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = group.compose(torch.from_numpy(g), raw)
    assert torch.allclose(group.project(moved), group.compose(torch.from_numpy(g), group.project(raw)))
    assert np.allclose(group.project(raw.numpy()), group.project(raw).numpy())
    assert np.allclose(group.project(g), g) and np.allclose(group.constraint_penalty(g), 0)
    assert torch.allclose(group.constraint_penalty(moved), group.constraint_penalty(raw))
    assert (group.constraint_penalty(raw.numpy()) > 0.1).all() and group.relax(raw) is raw
    assert np.allclose(group.representation(group.compose(g, h)), group.representation(g) @ group.representation(h))
    assert np.allclose(group.exp(np.zeros((3, 0))), group.identity()) and group.violation(raw.numpy()).max() > 0.1
    raw.requires_grad_()
    group.project(raw).sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()
    with pytest.raises(GroupError, match="no log"):
        group.log(g)
    with pytest.raises(GroupError, match="no element of X"):
        group.validate(g + 0.1)


def test_a_name_belongs_to_one_group() -> None:
    assert register_table_group("D5", dihedral_group(5)) == register_table_group("D5", dihedral_group(5)) == "D5"
    with pytest.raises(GroupError, match="no other group has"):
        register_table_group("D5", dihedral_group(7))
    with pytest.raises(GroupError, match="no other group has"):
        register_table_group("SO3", dihedral_group(5))
    with pytest.raises(GroupError, match="another group"):
        group_for_encoders(cyclic_group(4), "C2xC2")
    with pytest.raises(GroupError, match="of the catalogue"):
        group_for_encoders(alternating_group(5), "A5")
    assert group_for_encoders(dict(catalogue(16))["C4:C4"], "C4:C4")[0] == "C4_C4"


@pytest.mark.parametrize(("order", "expected"), [(6, "C6"), (8, "D4")])
def test_encoders_train_on_the_transitions_that_were_handed_over(order: int, expected: str) -> None:
    from equiact.representations.encoders.class_pose import ClassPoseConfig
    from equiact.representations.learning.training import train_encoder

    data, group = lamp_data(), cyclic_group(6) if order == 6 else dihedral_group(4)
    recovered = ActionGroup(DiscoveredGroup(group, expected, 1.0), np.array([1, 4]))
    transitions = transitions_of_actions(data, recovered)
    assert transitions.group == expected and len(transitions) == 64
    assert (transitions.frames[transitions.end] == data.next_frames).all()
    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=2, batch_size=16))
    encoder = train_encoder(transitions, config, device="cpu")
    assert np.isfinite(encoder.encode(data.frames)["pose"]).all()


# -------------------------------------------------------------------------------------------------------------- command


def test_the_command_names_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", relabelled(quaternion_group(), [3, 1, 0, 2, 5, 4, 7, 6]).table)
    result = AnalyzeSymmetry(table=tmp_path / "table.npy").run()
    assert result["group"] == "Q8" and result["order"] == 8 and not result["abelian"] and result["margin"] == 1
    assert result["irreps of dimension"] == {"1": 4, "2": 1}
    assert result["elements of order"] == {"1": 1, "2": 1, "4": 6} and result["conjugacy classes"] == 5


def test_the_command_discovers_the_group_of_actions(tmp_path: Path) -> None:
    save_action_data(tmp_path / "transitions.npz", lamp_data(512))
    result = AnalyzeSymmetry(data=tmp_path, steps=120, device="cpu").run()
    assert (result["group"], result["by counting states"]) == ("D4", "D4")
    assert set(result["elements"]) == {"action 0", "action 1"}


def test_the_command_refuses_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got neither; give a file TABLE.npy, or --data"):
        AnalyzeSymmetry().run()
    with pytest.raises(ValueError, match="got both"):
        AnalyzeSymmetry(table=tmp_path, data=tmp_path).run()
    with pytest.raises(ValueError, match="folder of transitions with --data"):
        AnalyzeSymmetry(table=tmp_path).run()
    with pytest.raises(ValueError, match="max-order of at least 1"):
        AnalyzeSymmetry(table=tmp_path, max_order=0).run()
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match="NPY file"):
        AnalyzeSymmetry(table=tmp_path / "text.npy").run()
    np.savez(tmp_path / "table.npz", table=np.eye(2))
    with pytest.raises(ValueError, match="one array"):
        AnalyzeSymmetry(table=tmp_path / "table.npz").run()
    with pytest.raises(ValueError, match="got no frames"):
        AnalyzeSymmetry(data=tmp_path / "table.npz").run()
    np.save(tmp_path / "sum.npy", np.add.outer(np.arange(3), np.arange(3)))
    with pytest.raises(GroupTableError, match="not closed"):
        AnalyzeSymmetry(table=tmp_path / "sum.npy").run()


def test_the_command_refuses_too_few_transitions_and_groups_that_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equiact.representations.analysis.symmetry import action_encoder, state_matching

    save_action_data(tmp_path / "few.npz", lamp_data(9))
    with pytest.raises(ValueError, match="each action at least 64 times"):
        AnalyzeSymmetry(data=tmp_path / "few.npz", device="cpu").run()
    save_action_data(tmp_path / "data.npz", lamp_data(64))

    def found(data: ActionData, config: ActionEncoderConfig, seed: int, device: str) -> ActionGroup:
        assert config.optim.steps == 600 and device == "cpu" and len(data) == 64
        if seed == 7:
            raise NoGroupFoundError("none")
        group = dihedral_group(4) if seed <= 5 else cyclic_group(4)
        elements = {4: (1, 4), 5: (4, 1)}.get(seed, (3, 5) if seed < 4 else (1, 2))
        return ActionGroup(DiscoveredGroup(group, identify(group), 0.9), np.array(elements))

    monkeypatch.setattr(action_encoder, "discover_action_group", found)
    result = AnalyzeSymmetry(data=tmp_path / "data.npz", seed=3, device="cpu").run()
    assert [result[key] for key in ("group", "by another seed", "by counting states")] == ["D4", "D4", "D4"]
    for seed, message in (
        (4, "D4 from seed 4, D4 from seed 5 and D4 by counting"),  # the same group, but other elements
        (5, "D4 from seed 5, C4 from seed 6"),
        (6, "C4 from seed 6, no group from seed 7"),
        (8, "C4 from seed 8, C4 from seed 9 and D4 by counting"),
    ):
        with pytest.raises(NoGroupFoundError, match=f"{message}.*give more transitions of each action in --data"):
            AnalyzeSymmetry(data=tmp_path / "data.npz", seed=seed, device="cpu").run()
    monkeypatch.setattr(state_matching, "MAX_OBSERVATIONS", 127)  # too many to count: the seeds decide
    result = AnalyzeSymmetry(data=tmp_path / "data.npz", seed=8, device="cpu").run()
    assert (result["group"], result["by counting states"]) == ("C4", "no group")
