"""Self-directed exploration: collect, learn where the object is, go there, and learn again.

Few random actions touch an object, and an agent–object encoder learns from touches. So the first transitions are
random. An encoder that is trained on them roughly knows where the object is, and in the next round half of the actions
lead there (`ApproachPolicy`). If it found no object (`doubt_of_object`), they stay random. Images and displacements are
all that is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from ...envs.arguments import integer_argument
from ...envs.batched_envs.batch_step import BatchStep
from ...envs.data.collect import collect, resolve_group
from ...envs.data.policy import Policy, RandomPolicy
from ...envs.data.seeds import stream_seed
from ...envs.data.transition_recorder import ReadDisplacement
from ...envs.data.transitions import Transitions, concatenate
from ...envs.lie_groups.group import Group
from ...representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from ...representations.encoders.encoder import translation_dim
from ...representations.learning.callbacks import TrainingCallback
from ...representations.learning.config import ConfigError, check_range, scale_steps
from ...representations.learning.training import train_encoder
from ...representations.metrics.object_evidence import doubt_of_object, object_evidence
from ...representations.metrics.registry import HeldOut
from .approach_policy import ActionPool, ApproachPolicy, DisplacementModel, Env, action_space_of, flatten_actions
from .saved_rounds import SavedRounds


@dataclass(frozen=True)
class ExplorationConfig:
    """Set the rounds of self-directed exploration.

    Attributes:
        first_share: share of the transitions that the first round collects, with random actions.
        round_share: share of each later round.
        least_gain: rounds end early once the share of contacts rises by less than this; the rest is collected at once.
        approach: probability of an action towards the object.
        spread: half the side of the box of targets around the object, in learned distances of contact.
        pool: number of random actions among which the policy chooses.
        steps_scale: factor on the updates of the encoders between the rounds, but for those of the contrastive stage:
            with fewer of them some seeds find no embedding that tells the positions of the object apart.
        encoder: the encoder that is trained between the rounds.

    Raises:
        ConfigError: a value is out of range.
    """

    first_share: float = 0.3
    round_share: float = 0.35
    least_gain: float = 0.05
    approach: float = 0.5
    spread: float = 1.5
    pool: int = 1024
    steps_scale: float = 0.4
    encoder: AgentObjectConfig = field(default_factory=AgentObjectConfig)

    def __post_init__(self) -> None:
        for name in ("first_share", "round_share"):
            check_range(self, name, above=0, at_most=1)
        check_range(self, "approach", at_least=0, at_most=1)
        check_range(self, "spread", at_least=0)
        check_range(self, "pool", at_least=2)
        check_range(self, "steps_scale", above=0)
        if type(self.encoder) is not AgentObjectConfig:
            raise ConfigError(
                f"encoder must be an AgentObjectConfig, got {type(self.encoder).__name__}: the agent goes to one "
                "object; explore with it, and train an encoder of several objects on the transitions"
            )


EXPLORATION = ExplorationConfig()


@dataclass(frozen=True)
class ExplorationRound:
    """One round of an exploration.

    Attributes:
        transitions: number of transitions.
        approached: whether actions led towards the object, by an encoder of the rounds before.
        contact_share: share of its transitions in which the object moved, as the last encoder sees it; None if none was
            trained.
    """

    transitions: int
    approached: bool
    contact_share: float | None = None


@dataclass(frozen=True)
class Exploration:
    """What an exploration found.

    Attributes:
        transitions: all transitions, in the order of the rounds.
        rounds: the rounds.
        doubt: a sentence that says that the last encoder found no object (`doubt_of_object`); None if it found one, or
            if none was trained.
    """

    transitions: Transitions
    rounds: tuple[ExplorationRound, ...]
    doubt: str | None = None


def explore(
    env: Env,
    transitions: int,
    seed: int,
    *,
    displacement: str | ReadDisplacement = "displacement",
    group: Group | str | None = None,
    image_key: str | None = None,
    autoreset: AutoresetMode | str | None = None,
    config: ExplorationConfig = EXPLORATION,
    device: str = "auto",
    work_dir: str | Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
    callbacks: Iterable[TrainingCallback] = (),
) -> Exploration:
    """Collect transitions in rounds: act at random, learn where the object is, go there, and learn again.

    Args:
        env: the environment, as for `collect`; the agent moves by translations.
        transitions: number of transitions of all rounds together.
        seed: of the environment, the actions and the encoders.
        displacement: the displacement that was performed, as for `collect`.
        group: the group that acts, as for `collect`.
        image_key: entry of Dict observations that holds the image.
        autoreset: how a vector environment resets, if it does not declare it.
        config: hyper-parameters.
        device: of the encoders.
        work_dir: folder for finished rounds, from which an interrupted exploration of the same environment goes on. It
            is removed at the end.
        progress: called with the number of transitions so far.
        callbacks: receive reports of the training between the rounds.

    Raises:
        ValueError: an argument is out of range, or the environment cannot be collected from, as for `collect`.
        ArtifactError: ``work_dir`` holds the rounds of another exploration.

    Example:
        >>> import gymnasium as gym
        >>> worlds = gym.make_vec("equiact/Soccer-v0", num_envs=8)  # doctest: +SKIP
        >>> found = explore(worlds, transitions=20_000, seed=0)  # doctest: +SKIP
        >>> [round(each.contact_share, 2) for each in found.rounds]  # doctest: +SKIP
        [0.03, 0.38, 0.41]
    """
    total = integer_argument("transitions", transitions, at_least=1)
    seed = integer_argument("seed", seed, at_least=0)
    translation_dim(resolve_group(env, group).name, "agent-object")
    first = _first_count(total, config)
    saved = SavedRounds(work_dir, {"seed": seed, "transitions": total, "config": asdict(config)})
    source = _Source(env, seed, displacement, group, image_key, autoreset, saved, progress)
    with saved.locked():
        parts, approached = [source.collect(0, first, 0, RandomPolicy(env))], [False]
        shares: list[float] = []
        encoder, learns = None, True
        while (done := sum(map(len, parts))) < total:
            if encoder is None or learns:
                encoder = _train(parts, config, seed, device, saved.checkpoint(len(parts)), callbacks)
                shares = [_contact_share(encoder, part) for part in parts]
                lost = _found_nothing(_evidence(encoder, parts))
                learns = lost or _still_gains(shares, config.least_gain)
            count = max(1, round(config.round_share * total)) if learns else total
            policy: Policy = RandomPolicy(env)
            if not lost:
                policy = _approach_policy(encoder, parts, env, config, stream_seed(seed, f"policy {len(parts)}"))
            approached.append(not lost)
            parts.append(source.collect(len(parts), min(count, total - done), done, policy))
        if encoder is not None:
            shares += [_contact_share(encoder, part) for part in parts[len(shares) :]]
        doubt = None if encoder is None else doubt_of_object(_evidence(encoder, parts))
    saved.remove()
    seen: list[float | None] = [*shares] or [None]
    described = zip(map(len, parts), approached, seen, strict=True)
    rounds = tuple(ExplorationRound(*each) for each in described)
    return Exploration(_whole(parts), rounds, doubt)


def _evidence(encoder: AgentObjectEncoder, parts: list[Transitions]) -> dict[str, float]:
    """Return the evidence for an object in all rounds so far."""
    return object_evidence(encoder, HeldOut(_whole(parts)))


def _found_nothing(evidence: dict[str, float]) -> bool:
    """Return whether evidence speaks against an object; too few passages speak neither for one nor against it."""
    return "object_evidence" in evidence and doubt_of_object(evidence) is not None


def _whole(parts: list[Transitions]) -> Transitions:
    """Return all rounds as one data set; their ``action`` is not kept, that name is for demonstrations."""
    return replace(concatenate(parts), action=None)


def _first_count(total: int, config: ExplorationConfig) -> int:
    """Return the number of transitions of the first round.

    Raises:
        ValueError: they are too few to train an encoder on.
    """
    count, optim = max(1, round(config.first_share * total)), config.encoder.optim
    needed = max(optim.batch_size, optim.contrast_batch_size) // 2
    if count < total and count < needed:
        least = math.ceil((needed - 0.5) / config.first_share)
        raise ValueError(
            f"expected at least {least} transitions, enough to train an encoder on the first round, got {total}; "
            "collect more, or collect at random"
        )
    return count


@dataclass(frozen=True)
class _Source:
    """Where rounds come from: the environment, or the folder of an interrupted exploration."""

    env: Env
    seed: int
    displacement: str | ReadDisplacement
    group: Group | str | None
    image_key: str | None
    autoreset: AutoresetMode | str | None
    saved: SavedRounds
    progress: Callable[[int], None]

    def collect(self, index: int, count: int, done: int, policy: Policy) -> Transitions:
        """Return a round of ``count`` transitions with their flattened actions; ``done`` were collected before."""
        found = self.saved.load(index)
        if found is None:
            found = self._collect(stream_seed(self.seed, f"round {index}"), count, done, policy)
            self.saved.save(index, found)
        self.progress(done + count)
        return found

    def _collect(self, seed: int, count: int, done: int, policy: Policy) -> Transitions:
        actions: list[NDArray[Any]] = []
        space = action_space_of(self.env)

        def keep_actions(step: BatchStep) -> None:
            taken = (
                list(iterate(self.env.action_space, step.action)) if isinstance(self.env, VectorEnv) else step.action
            )
            actions.append(flatten_actions(space, [taken[row] for row in np.flatnonzero(step.valid)]))

        found = collect(
            self.env,
            count,
            seed,
            displacement=self.displacement,
            group=self.group,
            policy=policy,
            image_key=self.image_key,
            autoreset=self.autoreset,
            progress=lambda collected: self.progress(done + collected),
            on_step=keep_actions,
        )
        return replace(found, action=np.concatenate(actions)[:count].astype(np.float32))


def _train(
    parts: list[Transitions],
    config: ExplorationConfig,
    seed: int,
    device: str,
    checkpoint: Path | None,
    callbacks: Iterable[TrainingCallback],
) -> AgentObjectEncoder:
    """Return an encoder that is trained on all rounds so far."""
    scaled = scale_steps(config.encoder, config.steps_scale)
    encoder = train_encoder(
        concatenate(parts),
        replace(scaled, optim=replace(scaled.optim, contrast_steps=config.encoder.optim.contrast_steps)),
        seed=stream_seed(seed, f"encoder {len(parts)}"),
        device=device,
        checkpoint=checkpoint,
        callbacks=callbacks,
    )
    if not isinstance(encoder, AgentObjectEncoder):
        raise TypeError(f"expected an agent-object encoder, got {type(encoder).__name__}; change config.encoder")
    return encoder


def _approach_policy(
    encoder: AgentObjectEncoder, parts: list[Transitions], env: Env, config: ExplorationConfig, seed: int
) -> ApproachPolicy:
    """Return the policy of the next round, with the effect of actions that all rounds so far show."""
    generator, data = np.random.default_rng(seed), concatenate(parts)
    agent = encoder.encode(data.observations)["agent"]
    return ApproachPolicy(
        encoder,
        DisplacementModel.fit(np.asarray(data.action), agent, data.displacement),
        ActionPool(env, config.pool, generator),
        share=config.approach,
        spread=config.spread * encoder.reach,
        generator=generator,
    )


def _contact_share(encoder: AgentObjectEncoder, transitions: Transitions) -> float:
    """Return the share of transitions in which the encoder sees the object move."""
    moved_by = encoder.movement(encoder.encode(transitions.frames), transitions)
    return float((moved_by > float(encoder.contact_threshold * encoder.unit)).mean())


def _still_gains(shares: list[float], least: float) -> bool:
    """Return whether another encoder may raise the share of contacts.

    It may as long as contacts are as rare as with random actions, and as long as the last round had more than the one
    before.
    """
    return len(shares) < 2 or shares[-1] - shares[0] < least or shares[-1] - shares[-2] >= least
