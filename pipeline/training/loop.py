"""The training loop of one rank: plain functions that run without Ray in a test.

A step: take candidates, score them, keep the most uncertain, learn. Every `round_steps` the next
round is planned from what was measured, and fetched while the current one trains.
"""

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from camtl import TokenRows
from camtl.backbones import resolve_backbone
from pipeline.runs.checkpoints.checkpoint import NOT_EVALUATED, load_checkpoint, save_checkpoint
from pipeline.runs.records import Records
from pipeline.sampling.batches import Fetch
from pipeline.sampling.epoch_bound import Floats
from pipeline.sampling.mixture import Mixture
from pipeline.sampling.state import SamplerState, fill_copied, mean_uncertainties, next_round, observe
from pipeline.sampling.stream import CandidateStream
from pipeline.training.build import build_learner
from pipeline.training.distributed import all_reduce_sum, rank, share, world_size
from pipeline.training.evaluation import EvalSet, measure, predict_all
from pipeline.training.job import TrainJob
from pipeline.training.learner import Learner
from pipeline.training.record_buffer import RecordBuffer
from pipeline.training.scoring import Precision, TokenCount, task_sums, uncertainties
from pipeline.training.watchdog import mark_progress

ASK_SECONDS = 1.0  # of training between questions whether a node will be taken away; each waits for all ranks
FIRST_ASK_STEPS = 5  # between them as long as no step was timed
Save = Callable[[Path], None]


class Report(Protocol):
    """Where a rank hands over its records, and rank 0 a checkpoint; called equally often by every rank."""

    def __call__(self, records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        """`metrics` comes with a checkpoint, on every rank; `save` is rank 0's, and writes it into an empty folder."""


def never() -> bool:
    """No node is ever taken away."""
    return False


def train_on_rank(
    job: TrainJob,
    *,
    fetch: Fetch,
    eval_sets: Sequence[EvalSet],
    device: torch.device,
    report: Report,
    resume_from: Path | None = None,
    preempted: Callable[[], bool] = never,
    notes: Sequence[str] = (),
) -> None:
    """Train to the last step. Every rank of the process group calls this with the same arguments.

    Args:
        job: what to train, and how.
        fetch: turns this rank's part of a plan into rows.
        eval_sets: all evaluation rows; the ranks share them out.
        device: of this rank.
        report: takes what was done.
        resume_from: folder of a checkpoint to go on from.
        preempted: whether a node is about to be taken away; every rank asks equally often and hears the same.
        notes: what happened before this, for the first report.
    """
    mark_progress("building the model")
    mixture = replace(job.mixture, world_size=world_size())
    stream = CandidateStream(fetch)
    try:
        if resume_from is None:  # the first rows are on their way while the model is built
            request_current(stream, mixture, SamplerState.initial(len(job.tasks)))
        run = RankTrainer.start(job, mixture, stream, eval_sets, device, resume_from)
        run.notes += notes
        if resume_from is not None:
            request_current(stream, mixture, run.state)
        train_rounds(run, stream, report, preempted)
    finally:
        stream.close()


def request_current(stream: CandidateStream, mixture: Mixture, state: SamplerState) -> None:
    """Ask for what is left of the round that `state` is in, for this rank."""
    stream.request(lambda: mixture.current(state).of_rank(rank(), after_step=state.step))


def request_upcoming(stream: CandidateStream, mixture: Mixture, state: SamplerState) -> None:
    """Ask for the round after the one that `state` is in, for this rank."""
    stream.request(lambda: mixture.upcoming(state, mixture.drawn(state)).of_rank(rank()))


def train_rounds(
    run: "RankTrainer", stream: CandidateStream, report: Report, preempted: Callable[[], bool] = never
) -> None:
    """Train round by round to the last step; the first round was asked for."""
    mixture, warned = run.mixture, False
    mark_progress("waiting for the first rows")
    stream.wait_for_first()
    run.log.begin()
    while run.state.step < mixture.max_steps:
        request_upcoming(stream, mixture, run.state)
        last = min(run.state.round_start + mixture.round_steps, mixture.max_steps)
        mark_progress(f"waiting for the rows of the steps after {run.state.step}")
        plan, steps = stream.next_round()
        for candidates in steps:
            run.step(candidates, plan.weights)
            if run.state.step == last:
                run.state = next_round(run.state, plan.drawn.tolist())
            leaving = not warned and run.state.step % run.ask_steps == 0 and preempted()
            if leaving:
                warned = True
                run.notes.append(f"a node is to be taken away: saving a checkpoint of step {run.state.step}")
            if run.state.step == last or run.checkpoint_due() or leaving:
                with run.log.paused():
                    run.hand_over_records(report, save=run.checkpoint_due() or leaving)


@dataclass
class RankTrainer:
    """What one rank holds between steps."""

    job: TrainJob
    mixture: Mixture
    eval_sets: Sequence[EvalSet]
    learner: Learner
    scoring: Precision
    scored_tokens: TokenCount
    tokenizer: PreTrainedTokenizerBase
    state: SamplerState
    log: RecordBuffer
    notes: list[str] = field(default_factory=list)
    ask_steps: int = FIRST_ASK_STEPS

    @staticmethod
    def start(
        job: TrainJob,
        mixture: Mixture,
        stream: CandidateStream,
        eval_sets: Sequence[EvalSet],
        device: torch.device,
        resume_from: Path | None,
    ) -> "RankTrainer":
        """Build everything, and restore it where there is a checkpoint."""
        learner = build_learner(replace(job, mixture=mixture), device)
        state = SamplerState.initial(len(job.tasks))
        if resume_from is not None:
            state = load_checkpoint(
                resume_from,
                model=learner.model,
                optimizer=learner.optimizer,
                schedule=learner.schedule,
                fingerprint=job.fingerprint(),
            )
        scored = TokenCount()
        log = RecordBuffer(len(job.tasks), learner.tokens, scored, stream, device, resumed_at=state.step)
        tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(job.tokenizer))
        scoring = Precision.of(device)
        return RankTrainer(job, mixture, eval_sets, learner, scoring, scored, tokenizer, state, log)

    def step(self, candidates: TokenRows, weights: Floats) -> None:
        """Choose among the candidates of a step and learn from the chosen."""
        job, selection, device = self.job, self.job.selection, self.learner.precision.device
        number = self.state.step + 1
        mark_progress(f"training step {number}")
        torch.manual_seed(
            int(np.random.SeedSequence([self.mixture.seed, number, rank()]).generate_state(1)[0])
        )
        k = share(job.batch_size, rank(), world_size())
        chosen: NDArray[np.int64] = np.arange(min(k, len(candidates)))
        entropy = None
        if selection.by_uncertainty:
            model = self.learner.model.train(selection.dropout)
            entropy = uncertainties(model, candidates, self.scoring, self.scored_tokens)
            chosen = selection.choose(entropy, candidates.task_ids, k)
        rows = candidates.take(chosen)
        sums = all_reduce_sum(task_sums(entropy, candidates.task_ids, rows.task_ids, len(job.tasks)), device)
        losses, trained_entropy = self.learner.step(rows, sums[2])
        if entropy is None:  # nothing was scored: the uncertainties are those of the rows trained on
            sums[0] = all_reduce_sum(trained_entropy.double().cpu().numpy(), device)
        means = fill_copied(mean_uncertainties(sums[0], sums[1], self.mixture.tasks), selection.copy_from)
        self.state = observe(self.state, means, job.smoothing)
        scored_rows = 0 if entropy is None else int(sums[1].sum())
        self.log.add(number, weights, means, sums[1], sums[2], rows, losses, scored_rows)

    def evaluation_due(self) -> bool:
        """Whether this step ends with an evaluation."""
        return _due(self.state.step, self.job.eval_every, self.mixture.max_steps)

    def checkpoint_due(self) -> bool:
        """Whether this step ends with a checkpoint; an evaluated one always does."""
        return self.evaluation_due() or _due(
            self.state.step, self.job.checkpoint_every, self.mixture.max_steps
        )

    def hand_over_records(self, report: Report, *, save: bool) -> None:
        """Evaluate and save where it is due, and report what was done since the last time."""
        step, scores = self.state.step, None
        if self.learner.precision.device.type == "cpu":
            trim_heap()
        if self.evaluation_due() and not self.job.evaluate_elsewhere:
            mark_progress(f"evaluating after step {step}")
            predictions = predict_all(self.learner.model, self.eval_sets, self.learner.precision)
            scores = None if predictions is None else measure(self.job.tasks, predictions)
        mark_progress(f"reporting step {step}")
        records = self.log.take(step, scores)
        records.notes, self.notes = tuple(self.notes), []
        steps = records.last_step - records.first_step + 1
        self.ask_steps = max(1, round(ASK_SECONDS * steps / max(records.seconds, 1e-9)))
        if not save:
            report(records, None, None)
            return
        metrics = {
            "step": step,
            "average": scores["average"] if scores else NOT_EVALUATED,
            "scores": scores,
            "to_evaluate": self.evaluation_due() and self.job.evaluate_elsewhere,
            "freeze": self.job.freeze,
        }
        mark_progress(f"saving the checkpoint of step {step}")
        report(records, self.save if rank() == 0 else None, metrics)

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an empty folder."""
        save_checkpoint(
            folder,
            model=self.learner.model,
            tokenizer=self.tokenizer,
            optimizer=self.learner.optimizer,
            schedule=self.learner.schedule,
            state=self.state,
            fingerprint=self.job.fingerprint(),
        )


def trim_heap() -> None:
    """Return what is free in the heap to the system: buffers of ever other sizes leave glibc's full of holes.

    Sixteen steps over rows of mixed lengths held 2.3 GB, of which 0.9 were in use.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _due(step: int, every: int | None, max_steps: int) -> bool:
    return step == max_steps or (every is not None and step % every == 0)
