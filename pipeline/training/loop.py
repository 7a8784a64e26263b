"""The training loop of one rank. A test or a debugger calls `train_on_rank` without Ray.

The way of a batch (CA-MTL, §2.5 and Algorithm 1):
1. `Mixture` plans a round: for every step and rank the candidates (task, row), drawn by the tasks' weights.
2. `CandidateStream` fetches them in a thread while the round before is trained.
3. `RankTrainer.step` scores a step's candidates without gradients (`uncertainties`), chooses the most uncertain
   (`Selection.choose`), and trains on them (`Learner.step`).
4. The tasks' mean uncertainties go into the sampler's state (`observe`); the round after the next follows from it.
"""

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from camtl import TokenRows
from camtl.backbones import resolve_backbone
from pipeline.runs.checkpoints.checkpoint import NOT_EVALUATED, load_checkpoint, save_checkpoint
from pipeline.runs.records import Records
from pipeline.sampling.arrays import Floats, Ints
from pipeline.sampling.batches import Fetch
from pipeline.sampling.state import SamplerState, mean_uncertainties, next_round, observe
from pipeline.sampling.stream import CandidateStream
from pipeline.training.distributed import all_reduce_sum, rank, share, world_size
from pipeline.training.evaluation import EvalSet, measure, predict_all
from pipeline.training.job import TrainJob
from pipeline.training.learner import Learner, build_learner
from pipeline.training.record_buffer import RecordBuffer
from pipeline.training.scoring import Precision, TokenCount, uncertainties
from pipeline.training.watchdog import mark_progress

ASK_SECONDS = 1.0  # training time between checks for a preemption; each check synchronises all ranks
FIRST_ASK_STEPS = 5  # steps between checks before any step was timed
Save = Callable[[Path], None]  # writes a checkpoint into an empty folder
# Every rank calls it equally often. With a checkpoint every rank passes its metrics, and rank 0 a `Save`.
Report = Callable[[Records, Save | None, dict[str, Any] | None], None]


def train_on_rank(
    job: TrainJob,
    *,
    fetch: Fetch,
    eval_sets: Sequence[EvalSet],
    device: torch.device,
    report: Report,
    resume_from: Path | None = None,
    preempted: Callable[[], bool] = lambda: False,
    notes: Sequence[str] = (),
) -> None:
    """Trains to the last step. Every rank of the process group calls this with the same arguments.

    Args:
        job: the training job.
        fetch: fetches this rank's part of a plan.
        eval_sets: all evaluation rows; the ranks split them.
        device: of this rank.
        report: receives records and checkpoints.
        resume_from: folder of a checkpoint.
        preempted: whether a node is about to be taken away; every rank asks equally often and gets one answer.
        notes: earlier events, for the first report.
    """
    mark_progress("building the model")
    job = replace(job, mixture=replace(job.mixture, world_size=world_size()))
    stream = CandidateStream(fetch, rank())
    try:
        state = SamplerState.initial(len(job.tasks))
        if resume_from is None:  # the first rows are fetched while the model is built
            stream.request(job.mixture.current, state)
        learner = build_learner(job, device)
        if resume_from is not None:
            state = load_checkpoint(
                resume_from,
                model=learner.model,
                optimizer=learner.optimizer,
                schedule=learner.schedule,
                fingerprint=job.fingerprint(),
            )
            stream.request(job.mixture.current, state)
        tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(job.tokenizer))
        trainer = RankTrainer(job, learner, tokenizer, eval_sets, stream, state, list(notes))
        trainer.train(report, preempted)
    finally:
        stream.close()


@dataclass
class RankTrainer:
    """Trains one rank: what it holds between steps, and what it does in each."""

    job: TrainJob
    learner: Learner
    tokenizer: PreTrainedTokenizerBase
    eval_sets: Sequence[EvalSet]
    stream: CandidateStream
    state: SamplerState
    notes: list[str] = field(default_factory=list)  # events for the next report
    ask_steps: int = FIRST_ASK_STEPS  # between checks for a preemption

    def __post_init__(self) -> None:
        device = self.learner.precision.device
        self.scoring, self.scored = Precision.of(device), TokenCount()
        token_counts = (self.learner.tokens, self.scored)
        self.records = RecordBuffer(len(self.job.tasks), token_counts, self.stream, device, self.state.step)

    def train(self, report: Report, preempted: Callable[[], bool] = lambda: False) -> None:
        """Trains round by round to the last step; the current round is requested already."""
        mixture, warned = self.job.mixture, False
        mark_progress("waiting for the first rows")
        self.stream.wait_for_first()
        self.records.start_clock()
        while self.state.step < mixture.max_steps:
            self.stream.request(mixture.upcoming, self.state)
            last_step = self.state.round_start + mixture.steps(self.state.round_start)
            mark_progress(f"waiting for the rows of the steps after {self.state.step}")
            plan, steps = self.stream.next_round()
            for candidates in steps:
                self.step(candidates, plan.weights)
                step = self.state.step
                if step == last_step:
                    self.state = next_round(self.state, plan.drawn.tolist())
                leaving = not warned and step % self.ask_steps == 0 and preempted()
                if leaving:
                    warned = True
                    self.notes.append(f"a node is to be taken away: saving a checkpoint of step {step}")
                save = self.checkpoint_due() or leaving
                if step == last_step or save:
                    with self.records.clock_stopped():
                        self.hand_over_records(report, save=save)

    def step(self, candidates: TokenRows, weights: Floats) -> None:
        """Chooses rows among this rank's candidates and trains on them; `weights` [T] are the round's."""
        job, device = self.job, self.learner.precision.device
        step = self.state.step + 1
        mark_progress(f"training step {step}")
        seeds = np.random.SeedSequence([job.mixture.seed, step, rank()])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        entropy, rows = self._choose(candidates)
        scores = np.zeros(len(candidates)) if entropy is None else entropy.double().numpy()
        summands = ((candidates, scores), (candidates, None), (rows, None))
        sums = [np.bincount(part.task_ids, values, len(job.tasks)) for part, values in summands]
        uncertainty, drawn, trained = all_reduce_sum(np.stack(sums), device)
        losses, trained_entropy = self.learner.step(rows, trained)
        if entropy is None:  # nothing was scored: the uncertainties are those of the trained rows
            uncertainty = all_reduce_sum(trained_entropy.double().cpu().numpy(), device)
        means = mean_uncertainties(uncertainty, drawn, job.mixture.tasks, job.selection.copy_from)
        self.state = observe(self.state, means, job.smoothing)
        mix = {"weight": weights, "mean_uncertainty": means, "candidates": drawn, "trained": trained}
        self.records.add(step, mix, rows, losses, scored=entropy is not None)

    def _choose(self, candidates: TokenRows) -> tuple[torch.Tensor | None, TokenRows]:
        """The candidates' entropy, None if they are not scored, and this rank's share of the batch.

        Departure from the paper, which has one process: every rank chooses among its own candidates.
        """
        selection = self.job.selection
        k = share(self.job.batch_size, rank(), world_size())
        if not selection.by_uncertainty:
            first: Ints = np.arange(min(k, len(candidates)))
            return None, candidates.take(first)
        model = self.learner.model.train(selection.dropout)
        entropy = uncertainties(model, candidates, self.scoring, self.scored)
        return entropy, candidates.take(selection.choose(entropy, candidates.task_ids, k))

    def evaluation_due(self) -> bool:
        """Whether this step ends with an evaluation."""
        return self._due(self.job.eval_every)

    def checkpoint_due(self) -> bool:
        """Whether this step ends with a checkpoint; an evaluated step always does."""
        return self.evaluation_due() or self._due(self.job.checkpoint_every)

    def _due(self, every: int | None) -> bool:
        step = self.state.step
        return step == self.job.mixture.max_steps or (every is not None and step % every == 0)

    def hand_over_records(self, report: Report, *, save: bool) -> None:
        """Evaluates if due, and reports the steps since the last report, with a checkpoint if `save`."""
        step, scores, device = self.state.step, None, self.learner.precision.device
        if device.type == "cpu":
            trim_heap()
        if self.evaluation_due() and not self.job.evaluate_elsewhere:
            mark_progress(f"evaluating after step {step}")
            predictions = predict_all(self.learner.model, self.eval_sets, self.learner.precision)
            scores = None if predictions is None else measure(self.job.tasks, predictions)
        mark_progress(f"reporting step {step}")
        records = self.records.take(step, scores)
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
        """Writes a checkpoint into an empty folder."""
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
    """Returns free heap memory to the system; batches of ever-changing size fragment glibc's heap.

    Without it, sixteen steps over rows of mixed lengths held 2.3 GB, of which 0.9 GB were in use.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
