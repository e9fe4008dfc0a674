"""Recovery from out-of-distribution states, around any policy.

Source: Reichlin, Marchetti, Yin, Ghadirzadeh and Kragic, *Back to the manifold: recovering from out-of-distribution
states*, IROS 2022 (arXiv:2207.08673):

    a = p · π(o) + (1 − p) · η · ∇_z log ρ(z) / ‖∇_z log ρ(z)‖,    p = sigmoid((log ρ(z) − threshold) / temperature)

The gradient is an action because the encoder is equivariant: actions are translations of the latent ``z``.

Deviations from the paper
-------------------------
* **Go back instead of climbing.** A remembered latent is a place to which the agent can go back in a straight line.
  With an open gripper it goes back to where the episode began and starts again, since the perturbation may have moved
  the object. What it observes there conditions the density from then on. With a closed gripper it goes back to the
  last in-distribution latent. The gradient leads to some dense state, often of another phase of the task. It is
  followed with ``climb=True``, and in episodes that begin out of distribution.
* **Patience.** A low density must last for some steps: the base policy may come back by itself, which takes less time.
* **Dwell.** A policy that stays in one place for longer than in clean episodes is stuck. It opens the gripper, goes
  back to where the episode began, and starts again.
* **Innovation**, if it is calibrated. The equivariant latent predicts where the last action leads. A larger
  displacement is a perturbation, even if it ends in a dense state.
* **No blending.** Recovery acts with full weight or not at all (unless ``climb=True``).
* **The gripper holds** while recovery acts. In the paper it follows the base policy, which is out of distribution then
  and may drop the object.
* **Calibration.** The trigger is calibrated by split conformal prediction on held-out clean episodes
  (`equiact.agents.recovery.conformal`). The paper sets threshold and temperature by hand for each task. Take episodes
  of the base policy: it drifts where the expert does not.
* **Any base policy**, whose actions are replaced where they are not finite.
* **Any actions.** The paper's actions are displacements. An `ActionMap` converts others: velocities, forces, targets.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.batched_envs.batch_rows import count_rows
from ...envs.batched_envs.image_reader import copy_observation
from ...envs.data.policy import PolicyLike, as_policy, seed_policy
from ...representations.densities.density import Density
from ...representations.encoders.encoder import Encoder, as_tensor
from .action_maps import ActionMap, IdentityActionMap
from .config import RecoveryConfig
from .conformal import Trigger
from .episode_state import Decision, EpisodeState, Latents, Mask, RecoveryStep, StepEstimate, Values
from .latent_reader import LatentFunction, LatentReader
from .policy_spaces import clip_to, is_single, observation_space_of, require_box
from .strategies import climb_gradient, go_back

Observations = Any
"""A batch of observations: an array ``(B, ...)``, or a dict of such arrays."""


class RecoveryPolicy:
    """A policy around a base policy, which brings the agent back to the demonstrations.

    It is a `Policy` itself, as in Stable-Baselines3; ``state`` is the memory of the episodes (`EpisodeState`).

    In distribution, ``log ρ(z) ≥ threshold``, it acts as the base policy. Otherwise it goes back to a latent that it
    remembers, or, with ``climb``, along ``∇_z log ρ(z) / ‖∇_z log ρ(z)‖``.

    Source: Reichlin et al., *Back to the manifold*, IROS 2022 (arXiv:2207.08673).

    Args:
        base: the base policy, or a function from observations to actions ``(B, dim + commands)``.
        encoder: an encoder of a translation group ``R^n`` with the latent ``"agent"``, or a function from a batch of
            observations to latents ``(B, n)``, such as positions. Actions must move the latent by translations.
        density: density of the demonstrations in that latent.
        trigger: decides when to recover, as `calibration.calibrate_recovery` and `conformal.calibrate_trigger` return.
        config: hyper-parameters.
        action_map: converts displacements of the latent to actions and back; actions are displacements if not given.
        action_space: actions are clipped to it; if None, that of the base policy, if it has one.
        observation_space: space of one observation, to tell one from a batch; if None, that of the base policy, or the
            images of the encoder. If none is known, a batch is expected.
        image_key: entry of Dict observations for encoders and densities of images; the only image among them if None.

    Attributes:
        config: hyper-parameters.
        trigger: decides when to recover.
        report: report of the last step; None before the first.
        faults: number of steps so far in which the base policy returned a value that is not finite, or the density had
            no gradient.

    Raises:
        DensityError: the density was not fitted.
        ValueError: the group of the encoder is no translation group, or the action space is not continuous.

    Example:
        >>> from equiact.representations.densities.registry import make_density
        >>> density = make_density("kernel", 2)
        >>> _ = density.fit(torch.rand(100, 2))
        >>> policy = RecoveryPolicy(
        ...     lambda observation: np.zeros((len(observation), 2)),
        ...     encoder=lambda observation: observation,
        ...     density=density,
        ...     trigger=Trigger(threshold=-3.0, temperature=0.5),
        ...     config=RecoveryConfig(step=0.1),
        ... )
        >>> action, state = policy.predict(np.zeros((1, 2), np.float32))
        >>> action.shape
        (1, 2)
    """

    def __init__(
        self,
        base: PolicyLike,
        encoder: Encoder | LatentFunction,
        density: Density,
        trigger: Trigger,
        config: RecoveryConfig,
        *,
        action_map: ActionMap | None = None,
        action_space: gym.Space[Any] | None = None,
        observation_space: gym.Space[Any] | None = None,
        image_key: str | None = None,
    ) -> None:
        density.require_fitted()
        self.config = config
        self.trigger = trigger
        self.report: RecoveryStep | None = None
        self.faults = 0
        self._base = as_policy(base)
        self._reader = LatentReader(encoder, density, image_key)
        self._density = density
        self._action_map = action_map or IdentityActionMap()
        bounds = getattr(base, "action_space", None) if action_space is None else action_space
        self._action_space = None if bounds is None else require_box(bounds)
        declared = observation_space_of(base, encoder)
        self._observation_space = declared if observation_space is None else observation_space

    def with_trigger(self, trigger: Trigger) -> Self:
        """Return the same policy with another trigger, and no faults yet."""
        policy = copy.copy(self)
        policy.trigger, policy.report, policy.faults = trigger, None, 0
        return policy

    def seed(self, generator: np.random.Generator) -> None:
        """Let the base policy draw its random numbers from this generator, if it draws any."""
        seed_policy(self._base, generator)

    def predict(
        self,
        observation: Observations,
        state: Any = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Return actions for a batch of observations, or for one, and the state for the next call.

        Args:
            observation: a batch of observations, or one, as in Stable-Baselines3.
            state: what the last call returned; None at first.
            episode_start: ``(B,)`` bool, true where the observation is the first one of an episode.
            deterministic: passed to the base policy.

        Returns:
            Actions ``(B, dim + commands)``, or ``(dim + commands,)`` for one observation, and the state.

        Raises:
            ValueError: the latents do not have the dimension of the density, or the base policy or the action map
                return arrays of another shape, or the action map values that are not finite.
        """
        starts = None if episode_start is None else np.atleast_1d(np.asarray(episode_start, bool))
        if not is_single(observation, self._observation_space):
            return self._predict_batch(observation, state, starts, deterministic)
        action, state = self._predict_batch(copy_observation(observation, batch=True), state, starts, deterministic)
        return action[0], state

    def _predict_batch(
        self, observation: Observations, state: Any, episode_start: Mask | None, deterministic: bool
    ) -> tuple[NDArray[Any], EpisodeState]:
        """Return actions and the state for a batch of observations."""
        latent = self._reader.latent(observation)
        state = self._remember(observation, latent, state, episode_start)
        action, base_state = self._base_action(observation, state.base, episode_start, deterministic)
        estimate = self._estimate(latent, state)
        decision = self._decide(observation, estimate, state)
        finite = np.asarray(np.isfinite(action).all(1))
        weight = np.where(finite | decision.fault, decision.weight, 0.0).astype(np.float32)
        action = clip_to(self._action_space, self._combine(action, finite, weight, decision, observation))
        self._report(estimate, decision, weight, finite)
        end = action.shape[1] - self.config.commands
        return action, replace(
            decision.state,
            commands=action[:, end:].copy(),
            predicted=latent + self._displacement(action[:, :end], latent, observation),
            anchor=np.where((estimate.dwell > 0)[:, None], decision.state.anchor, latent),
            dwell=estimate.dwell,
            sparse=estimate.sparse,
            base=base_state,
        )

    def _displacement(self, action: NDArray[Any], latent: Latents, observation: Observations) -> NDArray[Any]:
        """Return the displacements of the latent that actions perform."""
        moved = np.asarray(self._action_map.to_displacement(action, observation))
        return _require_finite("to_displacement", moved, latent.shape)

    def _remember(
        self, observation: Observations, latent: Latents, state: EpisodeState | None, episode_start: Mask | None
    ) -> EpisodeState:
        """Return the memory of the episodes, new where an episode starts."""
        if state is not None and (episode_start is None or not episode_start.any()):
            return state
        fresh = EpisodeState.begin(self._reader.scene(observation), latent, self.config.commands)
        if state is None or episode_start is None:
            return fresh
        if len(state.dwell) != len(latent):
            raise ValueError(
                f"a state of {len(latent)} episodes was expected, one for each observation, got one of "
                f"{len(state.dwell)}; begin with state=None"
            )
        return state.restarted(fresh, episode_start)

    def _base_action(
        self, observation: Observations, state: Any, episode_start: Mask | None, deterministic: bool
    ) -> tuple[NDArray[np.float64], Any]:
        """Return the actions of the base policy and its recurrent state."""
        action, state = self._base.predict(observation, state, episode_start, deterministic)
        action, count = np.array(action, np.float64), count_rows(observation)
        if action.ndim != 2 or len(action) != count or action.shape[1] <= self.config.commands:
            raise ValueError(
                f"actions ({count}, dim + {self.config.commands}) were expected of the base policy, got {action.shape}"
            )
        return action, state

    def _estimate(self, latent: Latents, state: EpisodeState) -> StepEstimate:
        """Estimate density, innovation and dwell of the agents."""
        context = self._density.context_of(torch.from_numpy(state.scene), state.commands)
        with torch.no_grad():
            log_density = self._density.log_prob(as_tensor(latent), context).numpy()
        radius = self.config.dwell_radius * self.config.step
        stays = np.linalg.norm(latent - state.anchor, axis=1) <= radius
        blend = self.trigger.blend(torch.from_numpy(log_density)).numpy()
        return StepEstimate(
            latent=latent,
            log_density=log_density,
            blend=blend,
            context=context,
            innovation=np.linalg.norm(latent - state.predicted, axis=1),
            dwell=np.where(stays & ~state.returning, state.dwell + 1, 0),
            sparse=np.where((blend < 0.5) & ~state.returning, state.sparse + 1, 0),
        )

    def _decide(self, observation: Observations, estimate: StepEstimate, state: EpisodeState) -> Decision:
        """Return the decision of the strategy."""
        if self.config.climb:
            return climb_gradient(self._density, estimate, state)
        seen = self._reader.scene_observation(observation)
        return go_back(self._density, self.trigger, self.config, seen, estimate, state)

    def _combine(
        self,
        action: NDArray[np.float64],
        finite: Mask,
        weight: Values,
        decision: Decision,
        observation: Observations,
    ) -> NDArray[np.float64]:
        """Return the displacements of base policy and recovery, weighted, and the commands of one of them."""
        end = action.shape[1] - self.config.commands
        recovery = self._to_action(self.config.step * decision.direction, observation, end)
        if not finite.all():
            action = np.where(finite[:, None], action, 0.0)
            action[~finite, :end] = self._to_action(np.zeros_like(decision.direction), observation, end)[~finite]
        blended = weight[:, None] * action[:, :end] + (1 - weight[:, None]) * recovery
        combined = np.concatenate([blended, action[:, end:]], 1)
        holds = ~finite | (weight < 0.5) & (not self.config.climb)
        combined[holds, end:] = decision.state.commands[holds]
        return combined

    def _to_action(self, displacement: NDArray[Any], observation: Observations, dim: int) -> NDArray[Any]:
        """Return the actions that perform displacements of the latent."""
        action = np.asarray(self._action_map.to_action(displacement, observation))
        action = _require_finite("to_action", action, (len(displacement), dim))
        return action if self._action_space is None else clip_to(self._action_space, action)

    def _report(self, estimate: StepEstimate, decision: Decision, weight: Values, finite: Mask) -> None:
        """Set the report of this step, and count its faults."""
        fault = decision.fault | ~finite
        self.report = RecoveryStep(
            latent=estimate.latent,
            log_density=estimate.log_density,
            blend=weight,
            innovation=estimate.innovation,
            dwell=estimate.dwell,
            direction=decision.direction,
            fault=fault,
        )
        self.faults += int(fault.sum())


def _require_finite(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values.shape != shape or not np.isfinite(values).all():
        problem = "values that are not finite" if values.shape == shape else f"shape {values.shape}"
        raise ValueError(f"{name} of the action map must return finite numbers of shape {shape}, got {problem}")
    return values
