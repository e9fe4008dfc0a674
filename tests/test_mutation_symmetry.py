"""Symmetry discovery: values that the other tests of it leave open."""

import numpy as np
import pytest
import torch
from equiact.representations.analysis.symmetry.action_data import ActionData
from equiact.representations.analysis.symmetry.action_encoder import (
    ActionEncoder,
    ActionEncoderConfig,
    ActionEncoderLearner,
)
from equiact.representations.analysis.symmetry.action_group import ActionGroupConfig
from equiact.representations.analysis.symmetry.group_catalogue import catalogue
from equiact.representations.analysis.symmetry.group_constructors import dihedral_group
from equiact.representations.analysis.symmetry.group_handover import TableGroup
from equiact.representations.encoders.encoder import to_images
from equiact.representations.learning.config import ConfigError, OptimConfig

NON_ABELIAN = {
    6: {"D3"},
    8: {"D4", "Q8"},
    12: {"D6", "Dic3", "A4"},
    16: {"D8", "Dic4", "SD16", "C8:C2", "C4:C4", "C2xC2:C4", "C2xD4", "C2xQ8", "C4xC2:C2"},
    18: {"D9", "C3xD3", "C3xC3:C2"},
    20: {"D10", "Dic5", "C5:C4"},
    21: {"C7:C3"},
    24: {
        *("D12", "Dic6", "S4", "SL(2,3)", "C3:C8", "C4xD3", "C2xD6", "C2xA4", "C2xDic3", "C3xD4", "C3xQ8", "C3:D4"),
    },
}


@pytest.mark.parametrize("order", NON_ABELIAN)
def test_the_groups_of_the_catalogue_have_their_names(order: int) -> None:
    names = {name for name, group in catalogue(order) if not group.is_abelian}
    assert names == NON_ABELIAN[order]


def test_the_contrastive_loss_of_actions_is_info_nce_at_its_temperature() -> None:
    torch.manual_seed(0)
    config = ActionEncoderConfig(latent_dim=4, temperature=0.05, optim=OptimConfig(steps=1, lr=1e-3, batch_size=6))
    generator = np.random.default_rng(0)
    frames, following = (generator.integers(256, size=(10, 16, 16, 1), dtype=np.uint8) for _ in range(2))
    actions = np.arange(10) % 3
    network = ActionEncoder((16, 16, 1), 3, config).eval()
    learner = ActionEncoderLearner(network, ActionData(frames, actions, following), config).eval()

    loss, _ = learner.loss(torch.Generator().manual_seed(1))

    rows = torch.randint(10, (6,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = (
            network(to_images(torch.from_numpy(each)[rows])).double().numpy() for each in (frames, following)
        )
    moved = np.stack([network.matrices[actions[row]].detach().numpy() @ z for row, z in zip(rows, before, strict=True)])
    weights = np.exp(moved @ after.T / np.linalg.norm(moved, axis=1)[:, None] / 0.05)
    right = np.diag(weights)
    expected = -0.5 * (np.log(right / weights.sum(1)) + np.log(right / weights.sum(0))).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["min_correlation", "max_leak", "min_margin"])
def test_shares_of_one_or_more_are_refused(name: str) -> None:
    assert getattr(ActionGroupConfig(**{name: 0.99}), name) == 0.99
    for value in (1.0, 1.5):
        with pytest.raises(ConfigError, match=name):
            ActionGroupConfig(**{name: value})


def test_the_violation_is_one_number_for_each_element() -> None:
    group = TableGroup(dihedral_group(4), "D4 of this test")
    raw = group.elements[[3, 5]] + np.array([[0.0], [0.1]])
    np.testing.assert_allclose(group.violation(raw), [0, 0.1], atol=1e-12)
    np.testing.assert_allclose(group.violation(raw[:, None]), [[0], [0.1]], atol=1e-12)
