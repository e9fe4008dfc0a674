"""Two ways to recover: climb the gradient of the density, or go back to a remembered place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...envs.batched_envs.batch_rows import select_rows
from ...representations.densities.density import Density
from ...representations.encoders.encoder import as_tensor
from .config import RecoveryConfig
from .conformal import Trigger
from .episode_state import Decision, EpisodeState, Latents, Mask, StepEstimate, Values


def climb_gradient(density: Density, estimate: StepEstimate, state: EpisodeState) -> Decision:
    """Blend the base policy with a step along the gradient of the density.

    ``a = p π(o) + (1 − p) η ∇_z log ρ / ‖∇_z log ρ‖``. Where the density has no gradient, the base policy acts alone.

    Source: Reichlin et al., IROS 2022 (arXiv:2207.08673).
    """
    uphill, fault = _unit_gradient(density, estimate)
    return Decision(np.where(fault, 1.0, estimate.blend), uphill, fault, state)


def go_back(
    density: Density,
    trigger: Trigger,
    config: RecoveryConfig,
    observation: Any,
    estimate: StepEstimate,
    state: EpisodeState,
) -> Decision:
    """Go straight back to a remembered latent, with full weight.

    With an open gripper, or if the base policy is stuck, the agent goes back to where the episode began (``home``), and
    the density is conditioned on what it observes there. Otherwise it goes back to the last in-distribution latent
    (``place``). Before any in-distribution latent was seen it follows the gradient of the density.
    """
    stuck = estimate.dwell > trigger.dwell
    lost = estimate.sparse > config.patience
    alarm = stuck | (estimate.innovation > trigger.innovation) | lost
    commands = np.where(stuck[:, None], 1.0, state.commands)
    to_home = np.asarray(~(commands < 0).any(1) & config.restart)
    back, distance = _towards(estimate.latent, np.where(to_home[:, None], state.home, state.place), config.step)
    approaching = state.returning & (distance < state.distance - config.least_progress * config.step)
    returning = (alarm | approaching) & (distance > config.arrival_distance * config.step)
    arrived_home = state.returning & ~returning & to_home
    known = (estimate.blend >= config.in_distribution_weight) & ~alarm & ~state.returning
    climbs = lost & np.isnan(state.home).any(1)
    if climbs.any():
        uphill, fault = _unit_gradient(density, estimate)
    else:
        uphill, fault = np.zeros_like(back), ~np.isfinite(estimate.log_density)
    climbs &= ~fault
    state = replace(
        state,
        scene=_observe_again(density, observation, state.scene, arrived_home),
        commands=np.where(arrived_home[:, None], 1.0, commands),
        home=np.where(known[:, None] & np.isnan(state.home), estimate.latent, state.home),
        place=np.where(known[:, None], estimate.latent, state.place),
        returning=returning,
        distance=distance,
    )
    weight = np.where(returning | climbs, 0.0, 1.0)
    return Decision(weight, np.where(returning[:, None], back, uphill), fault & ~returning, state)


def _observe_again(density: Density, observation: Any, scene: Values, arrived: Mask) -> Values:
    """Return the features of the scene, renewed where the agent has arrived at the start."""
    if not arrived.any():
        return scene
    renewed = scene.copy()
    renewed[arrived] = density.scene_of(select_rows(observation, arrived)).numpy()
    return renewed


def _unit_gradient(density: Density, estimate: StepEstimate) -> tuple[Latents, Mask]:
    """Return unit vectors along the gradient of the log density, and where there is none."""
    _, slope = density.score(as_tensor(estimate.latent), estimate.context)
    gradient = slope.numpy()
    length = np.linalg.norm(gradient, axis=1)
    fault = ~np.isfinite(length) | (length < 1e-12) | ~np.isfinite(estimate.log_density)
    return np.where(fault[:, None], 0.0, gradient / np.where(fault, 1.0, length)[:, None]), fault


def _towards(latent: Latents, place: Latents, step: float) -> tuple[Latents, Values]:
    """Return vectors to places in units of ``step``, at most one long, and distances; 0 where a place is unknown."""
    vector = np.nan_to_num(place - latent)
    distance = np.linalg.norm(vector, axis=1)
    return vector / np.maximum(distance, step)[:, None], distance
