"""The mixture of tasks: everything that decides a round's plan beside the sampler's state."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.sampling.epoch_bound import Floats
from pipeline.sampling.plan import Plan, apportion, plan_round
from pipeline.sampling.policies import PolicyOptions, task_weights
from pipeline.sampling.state import SamplerState


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Everything that a round's plan depends on, beside the sampler's state.

    Attributes:
        tasks: names, in the order of their ids.
        sizes: training rows of each task.
        policy, options: how tasks are weighted.
        candidates_per_step: rows drawn per step over all ranks.
        round_steps: steps planned together.
        max_steps: last step of the run.
        seed: seed of the run.
        world_size: number of ranks.
    """

    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    policy: str
    options: PolicyOptions
    candidates_per_step: int
    round_steps: int
    max_steps: int
    seed: int
    world_size: int

    def plan(self, uncertainty: Sequence[float], cursors: Sequence[int], round_start: int) -> Plan:
        """The round that begins after step `round_start`; empty once `max_steps` is reached."""
        return plan_round(
            seed=self.seed,
            tasks=self.tasks,
            sizes=self.sizes,
            cursors=cursors,
            weights=self._weights(uncertainty, cursors, round_start),
            first_step=round_start + 1,
            steps=self._steps(round_start),
            candidates_per_step=self.candidates_per_step,
            world_size=self.world_size,
        )

    def current(self, state: SamplerState) -> Plan:
        """The plan of the round that `state` is in."""
        return self.plan(state.planned_from, state.cursors, state.round_start)

    def upcoming(self, state: SamplerState, drawn: Sequence[int]) -> Plan:
        """The plan of the round after it; `drawn` rows of each task are in the current one."""
        cursors = [old + int(new) for old, new in zip(state.cursors, drawn, strict=True)]
        round_start = min(state.round_start + self.round_steps, self.max_steps)
        return self.plan(state.plan_next_from, cursors, round_start)

    def drawn(self, state: SamplerState) -> list[int]:
        """Rows of each task in the round that `state` is in, [T]; for that alone it need not be planned."""
        weights = self._weights(state.planned_from, state.cursors, state.round_start)
        drawn: list[int] = apportion(
            weights, self._steps(state.round_start) * self.candidates_per_step
        ).tolist()
        return drawn

    def _steps(self, round_start: int) -> int:
        return max(0, min(self.round_steps, self.max_steps - round_start))

    def _weights(self, uncertainty: Sequence[float], cursors: Sequence[int], round_start: int) -> Floats:
        return task_weights(
            self.policy,
            self.tasks,
            self.sizes,
            uncertainty,
            self.options,
            drawn=cursors,
            rows_left=(self.max_steps - round_start) * self.candidates_per_step,
        )
