"""The whole way with an environment of another package: collect, train, evaluate, learn a policy, perturb it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...agents.evaluation.rollouts import EVALUATION
from ...envs.data.seeds import stream_seed
from ..commands.collect import Collect
from ..commands.evaluate import Evaluate
from ..commands.train import Train
from .environment_suite import ForeignEnvironment


@dataclass(frozen=True)
class EnvironmentRunConfig:
    """Set the amount of work for an environment.

    Attributes:
        transitions: number of transitions to collect.
        training: share of the encoder's default number of updates.
        policy_steps: number of steps of reinforcement learning.
        episodes: number of paired episodes.
        resolution: height and width of drawn images.
    """

    transitions: int = 3000
    training: float = 0.5
    policy_steps: int = 1024
    episodes: int = 10
    resolution: tuple[int, int] = (64, 64)


@dataclass(frozen=True)
class EnvironmentRun:
    """One environment with one seed.

    Attributes:
        environment: the environment.
        seed: seed of everything.
        folder: where data, encoder and policy are written.
        config: the amount of work.
    """

    environment: ForeignEnvironment
    seed: int
    folder: Path
    config: EnvironmentRunConfig = field(default_factory=EnvironmentRunConfig)

    @property
    def encoder(self) -> Path:
        """Return the folder of the encoder."""
        return self.folder / "encoder"

    @property
    def policy(self) -> Path:
        """Return the file of the policy."""
        return self.folder / "policy.zip"

    def run(self) -> dict[str, Any]:
        """Do all steps, and return their figures."""
        figures: dict[str, Any] = {}
        for step in (self.collect, self.train, self.evaluate, self.learn_policy, self.perturb):
            start = time.perf_counter()
            figures |= step()
            figures[f"{step.__name__}_seconds"] = time.perf_counter() - start
        return figures

    def collect(self) -> dict[str, Any]:
        """Collect transitions with random actions, as ``equiact collect --env`` does."""
        env, config = self.environment, self.config
        collected = Collect(
            env=env.env,
            imports=env.imports,
            env_option=env.env_options,
            action_repeat=env.action_repeat,
            displacement=env.displacement,
            group=env.group,
            image_key=env.image_key,
            pixels=env.draws,
            resolution=config.resolution,
            transitions=config.transitions,
            output_dir=self.folder / "data",
            seed=self.seed,
            **env.viewpoint,
        ).run()
        return {"group": collected["group"]}

    def train(self) -> dict[str, Any]:
        """Train an encoder, as ``equiact train --data`` does."""
        from ...representations.encoders.registry import encoder_config
        from ...representations.learning.config import scale_steps

        default = encoder_config(self.environment.encoder)
        hyperparameters = scale_steps(replace(default, **self.environment.encoder_options), self.config.training)
        Train(
            data=self.folder / "data",
            encoder=self.environment.encoder,
            hyperparameters=hyperparameters,
            decoder_steps=0,
            output_dir=self.encoder,
            seed=self.seed,
        ).run()
        return {}

    def evaluate(self) -> dict[str, Any]:
        """Measure the encoder on the episodes that were held out, as ``equiact evaluate --data`` does."""
        measured = Evaluate(encoder=self.encoder, data=self.folder / "data").run()
        return {name: value for name, value in measured.items() if isinstance(value, float)}

    def learn_policy(self) -> dict[str, Any]:
        """Train a policy on the frozen encoder with Stable-Baselines3, and save it."""
        from stable_baselines3 import PPO
        from stable_baselines3.common.logger import Logger

        from ...agents.policies.sb3_features import EncoderFeatures

        env, _ = self.environment.make(self.config.resolution)
        features = {"features_extractor_class": EncoderFeatures, "features_extractor_kwargs": {"encoder": self.encoder}}
        model = PPO("CnnPolicy", env, n_steps=256, batch_size=64, policy_kwargs=features, device="cpu", seed=self.seed)
        model.set_logger(Logger(None, []))  # the default makes a folder among the temporary files
        model.learn(self.config.policy_steps)
        extractor: Any = model.policy.features_extractor
        extractor.require_pretrained()  # raises if the encoder did not stay as it was
        model.save(self.policy)
        env.close()
        return {}

    def perturb(self) -> dict[str, Any]:
        """Evaluate the saved policy under the perturbation of this environment, in paired episodes."""
        from ...agents.evaluation.perturbed_evaluation import evaluate_perturbations
        from ...agents.policies.policy_loading import resolve_policy

        policy = resolve_policy(self.policy, trust=True)
        env, _ = self.environment.make(self.config.resolution)
        perturbations = [self.environment.perturbation]
        episodes, first = self.config.episodes, stream_seed(self.seed, EVALUATION) % 2**31
        report = evaluate_perturbations(env, policy, perturbations, episodes=episodes, seed=first)
        env.close()
        clean, perturbed = report.summaries()
        receipt = perturbed.receipts[0]
        return {
            "clean_return": clean.return_mean,
            "return_change": perturbed.return_change,
            "receipt": str(receipt),
            "has_effect": receipt.has_effect,
        }
