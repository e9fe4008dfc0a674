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
* **Innovation.** The equivariant latent predicts where the last action leads. A larger displacement is a perturbation,
  even if it ends in a dense state.
* **Dwell.** A policy that stays in one place for longer than in clean episodes is stuck. It opens the gripper, goes
  back to where the episode began, and starts again.
* **No blending.** Recovery acts with full weight or not at all (unless ``climb=True``).
* **The gripper holds** while recovery acts. In the paper it follows the base policy, which is out of distribution then
  and may drop the object.
* **Calibration.** The trigger is calibrated by split conformal prediction on held-out clean episodes
  (`equiact.agents.recovery.conformal`). The paper sets threshold and temperature by hand for each task. Take episodes
  of the base policy: it drifts where the expert does not.
* **Any base policy**, whose actions are replaced where they are not finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.data.policy import PolicyLike, as_policy
from ...representations.densities.density import Density
from ...representations.encoders.encoder import Encoder, as_tensor
from .config import RecoveryConfig
from .conformal import Trigger
from .episode_state import Decision, EpisodeState, Latents, Mask, RecoveryStep, StepEstimate, Values
from .strategies import climb_gradient, go_back

Observations = NDArray[Any]
"""A batch of observations, ``(B, ...)``."""


def _identity(displacement: NDArray[Any], observation: Observations) -> NDArray[Any]:
    return displacement


class RecoveryPolicy:
    """A policy around a base policy, which brings the agent back to the demonstrations.

    It is a `Policy` itself, as in Stable-Baselines3; ``state`` is the memory of the episodes (`EpisodeState`).

    In distribution, ``log ρ(z) ≥ threshold``, it acts as the base policy. Otherwise it goes back to a latent that it
    remembers, or, with ``climb``, along ``∇_z log ρ(z) / ‖∇_z log ρ(z)‖``.

    Source: Reichlin et al., *Back to the manifold*, IROS 2022 (arXiv:2207.08673).

    Args:
        base: the base policy, or a function from observations to actions ``(B, dim + commands)``.
        encoder: an encoder with the latent ``"agent"``, or a function from observations to latents ``(B, n)``.
        density: density of the demonstrations in that latent.
        trigger: decides when to recover, such as `equiact.agents.recovery.conformal.calibrate_trigger` returns.
        config: hyper-parameters.
        to_action: maps a displacement of the latent ``(B, n)`` and the observations to that of an action ``(B, dim)``;
            the identity if not given.
        to_latent: maps the displacement of an action ``(B, dim)`` to that of the latent ``(B, n)``; the identity if not
            given.

    Attributes:
        config: hyper-parameters.
        report: report of the last step; None before the first.
        faults: number of steps so far in which the base policy returned a value that is not finite, or the density had
            no gradient.

    Raises:
        DensityError: the density was not fitted.

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
        encoder: Encoder | Callable[[Observations], NDArray[Any]],
        density: Density,
        trigger: Trigger,
        config: RecoveryConfig,
        *,
        to_action: Callable[[NDArray[Any], Observations], NDArray[Any]] = _identity,
        to_latent: Callable[[NDArray[Any]], NDArray[Any]] = lambda action: action,
    ) -> None:
        density.require_fitted()
        self.config = config
        self.report: RecoveryStep | None = None
        self.faults = 0
        self._base = as_policy(base)
        self._encoder = encoder
        self._density = density
        self._trigger = trigger
        self._to_action = to_action
        self._to_latent = to_latent

    def predict(
        self,
        observation: Observations,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Return actions ``(B, dim + commands)`` for a batch of observations, and the state for the next call.

        Raises:
            ValueError: the latents do not have the dimension of the density, or the base policy returns actions of
                another shape.
        """
        latent = self._encode(observation)
        state = self._remember(observation, latent, state, episode_start)
        action, base_state = self._base_action(observation, state.base, episode_start, deterministic)
        estimate = self._estimate(latent, state)
        decision = self._decide(observation, estimate, state)
        finite = np.asarray(np.isfinite(action).all(1))
        weight = np.where(finite | decision.fault, decision.weight, 0.0).astype(np.float32)
        action = self._combine(action, finite, weight, decision, observation)
        self._report(estimate, decision, weight, finite)
        displacement = action[:, : action.shape[1] - self.config.commands]
        return action, replace(
            decision.state,
            commands=action[:, displacement.shape[1] :].copy(),
            predicted=latent + self._to_latent(displacement),
            anchor=np.where((estimate.dwell > 0)[:, None], decision.state.anchor, latent),
            dwell=estimate.dwell,
            base=base_state,
        )

    def _encode(self, observation: Observations) -> Latents:
        """Return the latents of the agent."""
        if isinstance(self._encoder, Encoder):
            latent = np.asarray(self._encoder.encode(observation)["agent"])
        else:
            latent = np.asarray(self._encoder(observation), np.float32)
        expected = (len(observation), self._density.dim)
        if latent.shape != expected:
            raise ValueError(
                f"latents (B, {expected[1]}) were expected, which the density was fitted to; "
                f"the encoder gives {latent.shape}"
            )
        return latent

    def _remember(
        self, observation: Observations, latent: Latents, state: EpisodeState | None, episode_start: Mask | None
    ) -> EpisodeState:
        """Return the memory of the episodes, new where an episode starts."""
        if state is not None and (episode_start is None or not episode_start.any()):
            return state
        scene = self._density.scene_of(observation).numpy()
        fresh = EpisodeState.begin(scene, latent, self.config.commands)
        if state is None or episode_start is None:
            return fresh
        return state.restarted(fresh, episode_start)

    def _base_action(
        self, observation: Observations, state: Any, episode_start: Mask | None, deterministic: bool
    ) -> tuple[NDArray[np.float64], Any]:
        """Return the actions of the base policy and its recurrent state."""
        action, state = self._base.predict(observation, state, episode_start, deterministic)
        action = np.array(action, np.float64)
        if action.ndim != 2 or len(action) != len(observation) or action.shape[1] <= self.config.commands:
            raise ValueError(
                f"actions ({len(observation)}, dim + {self.config.commands}) were expected of the base policy, "
                f"got {action.shape}"
            )
        return action, state

    def _estimate(self, latent: Latents, state: EpisodeState) -> StepEstimate:
        """Estimate density, innovation and dwell of the agents."""
        context = self._density.context_of(torch.from_numpy(state.scene), state.commands)
        with torch.no_grad():
            log_density = self._density.log_prob(as_tensor(latent), context).numpy()
        radius = self.config.dwell_radius * self.config.step
        stays = np.linalg.norm(latent - state.anchor, axis=1) <= radius
        return StepEstimate(
            latent=latent,
            log_density=log_density,
            blend=self._trigger.blend(torch.from_numpy(log_density)).numpy(),
            context=context,
            innovation=np.linalg.norm(latent - state.predicted, axis=1),
            dwell=np.where(stays & ~state.returning, state.dwell + 1, 0),
        )

    def _decide(self, observation: Observations, estimate: StepEstimate, state: EpisodeState) -> Decision:
        """Return the decision of the strategy."""
        if self.config.climb:
            return climb_gradient(self._density, estimate, state)
        return go_back(self._density, self._trigger, self.config, observation, estimate, state)

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
        recovery = self._to_action(self.config.step * decision.direction, observation)
        action = np.where(finite[:, None], action, 0.0)
        blended = weight[:, None] * action[:, :end] + (1 - weight[:, None]) * recovery
        combined = np.concatenate([blended, action[:, end:]], 1)
        holds = ~finite | (weight < 0.5) & (not self.config.climb)
        combined[holds, end:] = decision.state.commands[holds]
        return combined

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
