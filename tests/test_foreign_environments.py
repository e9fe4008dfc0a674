"""Environments of other packages go the whole way: collect, train, evaluate, learn a policy, perturb it."""

import importlib.util
from pathlib import Path

import pytest
from equiact.envs.perturbations.parsing import parse_perturbation
from equiact.scripts.benchmarks.environment_run import EnvironmentRun, EnvironmentRunConfig
from equiact.scripts.benchmarks.environment_suite import FOREIGN_ENVIRONMENTS, ForeignEnvironment

SMALL = EnvironmentRunConfig(transitions=600, training=0.01, policy_steps=256, episodes=3)


def test_the_suite_covers_enough_packages() -> None:
    assert len(FOREIGN_ENVIRONMENTS) >= 10
    assert len({environment.package for environment in FOREIGN_ENVIRONMENTS}) >= 5
    assert len({environment.name for environment in FOREIGN_ENVIRONMENTS}) == len(FOREIGN_ENVIRONMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("environment", FOREIGN_ENVIRONMENTS, ids=lambda environment: environment.name)
def test_an_environment_of_another_package_goes_the_whole_way(environment: ForeignEnvironment, tmp_path: Path) -> None:
    for package in environment.imports:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    figures = EnvironmentRun(environment, 0, tmp_path, SMALL).run()
    assert figures["has_effect"]
    assert figures["displacement_rms"] > 0
    assert (tmp_path / "encoder" / "card.json").is_file()
    assert (tmp_path / "policy.zip").is_file()


@pytest.mark.parametrize("environment", FOREIGN_ENVIRONMENTS, ids=lambda environment: environment.name)
def test_the_perturbation_suits_the_environment(environment: ForeignEnvironment) -> None:
    for package in environment.imports:
        pytest.importorskip(package)
    env, _ = environment.make((16, 16))
    (perturbation,) = parse_perturbation(environment.perturbation)
    perturbation.check(env)
    env.close()
