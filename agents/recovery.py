"""Recovery: a policy that climbs the density of the demonstrations when something has pushed it off them.

Reichlin, Marchetti, Yin, Ghadirzadeh, Kragic, *Back to the manifold: recovering from out-of-distribution states*, IROS
2022 (arXiv:2207.08673).

    a = p · π(o) + (1 − p) · η · ∇_z log ρ / ‖∇_z log ρ‖,    p = sigmoid((log ρ(z) − threshold) / temperature)

The gradient is an action because the encoder turns actions into translations of ``z``.

Deviations from the paper, and why
----------------------------------
* **Back, all the way.** Translations of the latent are actions, so that a remembered latent is a place that the policy
  can go back to in a straight line, however far it was dragged. With empty hands it returns to where the episode began
  and begins anew: the push may have moved what it was after, and from the start it was shown what to do with any scene.
  What is seen there conditions the density from then on. While it holds something it returns to the last place at which
  density was high. The gradient, which leads to *some* dense spot, often of another phase of the task and of a scene
  that is no more, is what ``climb=True`` follows, and what is left where an episode begins off the demonstrations.
* **Innovation.** An equivariant latent says where the last action should have led. What moves the agent further than
  that is a push, however dense the place it ends in.
* **Once more from the start.** A policy that stays in one place for longer than it did in clean episodes is stuck: it
  opens the gripper, goes back to where the episode began, and tries again.
* **No blend.** Recovery acts or it does not: a small weight of it in clean steps cost more than it ever gained.
* **The gripper stays as it is** while recovery has more weight than the base. In the paper it follows the base, which
  off the demonstrations opens it as likely as not, and drops what it holds.
* **The trigger is calibrated** by split conformal prediction on held-out clean episodes (`agents.trigger`); the paper
  sets a threshold and a temperature by hand for each task. Episodes of the base policy are better than those of its
  teacher for that: it drifts where the teacher did not, and would set off a trigger that knows the teacher alone.
* **The base may be any policy**, and its NaN is not carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.trigger import Trigger
from representations.density import Density
from representations.encoder import Encoder, as_tensor

Observations = NDArray[Any]

SURE = 0.95
"""Weight of the base policy from which on the agent is taken to be where it has been shown what to do."""


class Policy(Protocol):
    """A policy as Stable-Baselines3 has them: models, recurrent ones too, and `RecoveryPolicy` itself."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Actions for a batch of observations, and the state to pass on to the next call."""


@dataclass(frozen=True)
class Report:
    """What a step of `RecoveryPolicy` did, one entry an episode of the batch.

    Attributes:
        latent: where the agent is.
        log_density: there.
        blend: weight of the base policy.
        innovation: distance between where the agent is and where the last action should have brought it.
        dwell: steps that the agent has been within one step's length of the same place.
        direction: of the recovery's displacement, of at most unit length, zero where there was none.
        fault: where the base policy returned something that is not finite, or density gave no direction.
    """

    latent: NDArray[np.float32]
    log_density: NDArray[np.float32]
    blend: NDArray[np.float32]
    innovation: NDArray[np.float32]
    dwell: NDArray[np.int64]
    direction: NDArray[np.float32]
    fault: NDArray[np.bool_]


@dataclass(frozen=True)
class _Memory:
    """What is remembered of each episode of a batch.

    Attributes:
        scene: what the density knows of the first observation.
        home: the first latent at which density was high; NaN until then.
        commands: given last.
        place: the last one.
        expected: the latent that the last action should have led to.
        anchor: the latent that the agent has been close to for `dwell` steps.
        returning: whether the agent is on its way back.
        left: how far it still was.
        base: the base policy's own state.
    """

    scene: NDArray[np.float32]
    home: NDArray[np.float32]
    commands: NDArray[Any]
    place: NDArray[np.float32]
    expected: NDArray[np.float32]
    anchor: NDArray[np.float32]
    dwell: NDArray[np.int64]
    returning: NDArray[np.bool_]
    left: NDArray[np.float32]
    base: Any


@dataclass(frozen=True)
class _Sight:
    """What is seen in one step: where each agent is, how dense it is there, what moved it, and since when it stays.

    ``context`` is what the density is conditioned on.
    """

    latent: NDArray[np.float32]
    log_density: NDArray[np.float32]
    blend: NDArray[np.float32]
    context: Tensor | None
    innovation: NDArray[np.float32]
    dwell: NDArray[np.int64]


_Decision = tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], _Memory]
"""Weight of the base, direction of the recovery, where density has none, and what is remembered."""


class RecoveryPolicy:
    """Any policy, made to find its way back to the demonstrations.

    Itself a policy as Stable-Baselines3 has them; ``state`` carries what is remembered of the start of the episode.

    Args:
        base: a model or policy with `predict`, or a function from observations to actions.
        encoder: where the agent is: an `Encoder` with a latent ``agent``, or a function from observations to
            ``(B, n)``.
        density: of the demonstrations in that latent.
        trigger: when to act, from `agents.trigger.calibrate`.
        step: η, the length of a recovery displacement, in the units of the actions.
        commands: coordinates of an action behind the displacement.
        restart: whether it goes back to where the episode began when it holds nothing or is stuck, and begins anew.
            Without, it always returns to where it last was for sure: for tasks in which starting over is costly.
        climb: follow the density's gradient instead, blended with the base, which commands the gripper: as published.
        to_action: turns a displacement of the latent into the coordinates of an action; the identity if not given.
        to_latent: turns the coordinates of an action into a displacement of the latent; the identity if not given.

    Attributes:
        report: what the last step did.
        faults: steps so far in which the base returned something that is not finite, or density gave no direction.
    """

    def __init__(
        self,
        base: Policy | Callable[[Observations], NDArray[Any]],
        encoder: Encoder | Callable[[Observations], NDArray[Any]],
        density: Density,
        trigger: Trigger,
        *,
        step: float,
        commands: int = 0,
        restart: bool = True,
        climb: bool = False,
        to_action: Callable[[NDArray[Any], Observations], NDArray[Any]] = lambda displacement, observation: (
            displacement
        ),
        to_latent: Callable[[NDArray[Any]], NDArray[Any]] = lambda action: action,
    ) -> None:
        self._base = base
        self._encoder = encoder
        self._density = density
        self._trigger = trigger
        self._length = step
        self._commands = commands
        self._restart = restart
        self._climbs = climb
        self._to_action = to_action
        self._to_latent = to_latent
        self.report: Report | None = None
        self.faults = 0

    def predict(
        self,
        observation: Observations,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Actions ``(B, …)`` of a batch of observations, and the state for the next call."""
        latent = self._locate(observation)
        memory = self._remembered(observation, latent, state, episode_start)
        action, base_state = self._base_action(observation, memory.base, episode_start, deterministic)
        finite = np.isfinite(action).all(1)
        sight = self._look(latent, memory)
        decide = self._climb if self._climbs else self._return
        weight, direction, lost, memory = decide(observation, sight, memory)
        weight = np.where(finite | lost, weight, 0.0).astype(np.float32)
        action = self._carried(np.where(finite[:, None], action, 0.0), weight, direction, observation)
        end = action.shape[1] - self._commands
        holds = ~finite | (weight < 0.5) & (not self._climbs)
        action[holds, end:] = memory.commands[holds]
        fault = lost | ~finite
        self.report = Report(latent, sight.log_density, weight, sight.innovation, sight.dwell, direction, fault)
        self.faults += int(fault.sum())
        return action, replace(
            memory,
            commands=action[:, end:].copy(),
            expected=latent + self._to_latent(action[:, :end]),
            anchor=np.where((sight.dwell > 0)[:, None], memory.anchor, latent),
            dwell=sight.dwell,
            base=base_state,
        )

    def _look(self, latent: NDArray[np.float32], memory: _Memory) -> _Sight:
        """How dense it is where the agent is, what moved it there, and since when it stays."""
        context = self._density.context_of(torch.from_numpy(memory.scene), memory.commands)
        with torch.no_grad():
            log_density = self._density.log_prob(as_tensor(latent), context).numpy()
        stays = np.linalg.norm(latent - memory.anchor, axis=1) <= self._length
        return _Sight(
            latent=latent,
            log_density=log_density,
            blend=self._trigger.blend(torch.from_numpy(log_density)).numpy(),
            context=context,
            innovation=np.linalg.norm(latent - memory.expected, axis=1),
            dwell=np.where(stays & ~memory.returning, memory.dwell + 1, 0),
        )

    def _climb(self, observation: Observations, sight: _Sight, memory: _Memory) -> _Decision:
        """The paper's: blend the base with a step along the gradient."""
        uphill, lost = self._uphill(sight)
        return np.where(lost, 1.0, sight.blend), uphill, lost, memory

    def _return(self, observation: Observations, sight: _Sight, memory: _Memory) -> _Decision:
        """Ours: back to where it was with what it holds, or to the start of the episode with empty hands."""
        stuck = sight.dwell > self._trigger.dwell
        sparse = sight.blend < 0.5
        alarm = stuck | (sight.innovation > self._trigger.innovation) | sparse
        commands = np.where(stuck[:, None], 1.0, memory.commands)
        starts_over = np.asarray(~(commands < 0).any(1) & self._restart)
        back, left = self._back(sight.latent, np.where(starts_over[:, None], memory.home, memory.place))
        under_way = memory.returning & (left < memory.left - 0.1 * self._length)
        returning = (alarm | under_way) & (left > 0.5 * self._length)
        anew = memory.returning & ~returning & starts_over
        scene = memory.scene.copy()
        if anew.any():
            scene[anew] = self._density.scene_of(observation[anew]).numpy()
        sure = (sight.blend >= SURE) & ~alarm & ~memory.returning
        climbs = sparse & np.isnan(memory.home).any(1)
        uphill, lost = self._uphill(sight) if climbs.any() else (np.zeros_like(back), ~np.isfinite(sight.log_density))
        climbs &= ~lost
        memory = replace(
            memory,
            scene=scene,
            commands=np.where(anew[:, None], 1.0, commands),
            home=np.where(sure[:, None] & np.isnan(memory.home), sight.latent, memory.home),
            place=np.where(sure[:, None], sight.latent, memory.place),
            returning=returning,
            left=left,
        )
        weight = np.where(returning | climbs, 0.0, 1.0)
        return weight, np.where(returning[:, None], back, uphill), lost & ~returning, memory

    def _uphill(self, sight: _Sight) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit vectors along the gradient, and where there is none."""
        _, slope = self._density.score(as_tensor(sight.latent), sight.context)
        gradient = slope.numpy()
        length = np.linalg.norm(gradient, axis=1)
        lost = ~np.isfinite(length) | (length < 1e-12) | ~np.isfinite(sight.log_density)
        return np.where(lost[:, None], 0.0, gradient / np.where(lost, 1.0, length)[:, None]), lost

    def _carried(
        self, action: NDArray[Any], weight: NDArray[np.float32], direction: NDArray[Any], observation: Observations
    ) -> NDArray[Any]:
        """The base's action with its displacement blended with the recovery's."""
        end = action.shape[1] - self._commands
        recovery = self._to_action(self._length * direction, observation)
        blended = weight[:, None] * action[:, :end] + (1 - weight[:, None]) * recovery
        return np.concatenate([blended, action[:, end:]], 1)

    def _remembered(
        self,
        observation: Observations,
        latent: NDArray[np.float32],
        state: _Memory | None,
        episode_start: NDArray[np.bool_] | None,
    ) -> _Memory:
        """What is remembered of each episode; begun anew where one starts."""
        if state is not None and (episode_start is None or not episode_start.any()):
            return state
        count = len(observation)
        nowhere = np.full_like(latent, np.nan)
        fresh = _Memory(
            scene=self._density.scene_of(observation).numpy(),
            commands=np.ones((count, self._commands)),
            home=nowhere,
            place=nowhere,
            expected=latent,
            anchor=latent,
            dwell=np.zeros(count, int),
            returning=np.zeros(count, bool),
            left=np.full(count, np.inf, np.float32),
            base=None,
        )
        if state is None or episode_start is None:
            return fresh

        def begun(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            return np.where(episode_start.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        names = [field.name for field in fields(_Memory) if field.name != "base"]
        return _Memory(**{n: begun(getattr(state, n), getattr(fresh, n)) for n in names}, base=state.base)

    def _back(
        self, latent: NDArray[np.float32], place: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors to places in units of the step, at most one long, and how far those are; 0 where none is known."""
        vector = np.nan_to_num(place - latent)
        left = np.linalg.norm(vector, axis=1)
        return vector / np.maximum(left, self._length)[:, None], left

    def _base_action(
        self, observation: Observations, state: Any, episode_start: NDArray[np.bool_] | None, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        if hasattr(self._base, "predict"):
            action, state = self._base.predict(observation, state, episode_start, deterministic)
            return np.array(action, np.float64), state
        return np.array(self._base(observation), np.float64), None

    def _locate(self, observation: Observations) -> NDArray[np.float32]:
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
