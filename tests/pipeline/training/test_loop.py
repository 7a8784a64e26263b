"""The training loop in this process: the same twice, the same after a resume, and everything on record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from camtl import CaMtlModel, TokenRows
from pipeline.runs.checkpoints.checkpoint import NOT_EVALUATED
from pipeline.runs.records import Records
from pipeline.sampling.batches import Fetch, fetch_from_memory
from pipeline.sampling.plan import Plan
from pipeline.training.evaluation import EvalSet
from pipeline.training.loop import Save, train_on_rank
from tests.toy import NAMES, make_job, make_table

SIZES = (40, 9, 24)
TABLES = [make_table(task, rows) for task, rows in enumerate(SIZES)]
EVALS = {name: {"validation": make_table(task, 6, seed=1)} for task, name in enumerate(NAMES)}


@dataclass
class Run:
    """What a run has reported. Checkpoints lie in `folder`, by step."""

    folder: Path
    records: list[Records] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        self.records.append(records)
        assert (save is None) == (metrics is None)
        if save is not None and metrics is not None:
            self.metrics.append(metrics)
            self.checkpoint(metrics["step"]).mkdir(parents=True)
            save(self.checkpoint(metrics["step"]))

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def weights(self, step: int) -> dict[str, torch.Tensor]:
        return CaMtlModel.from_pretrained(self.checkpoint(step) / "model").state_dict()

    def table(self, of: str, after: int = 0) -> pa.Table:
        """`rows` or `mix` of all records, without the steps up to `after`."""
        columns = [part.rows if of == "rows" else part.mix for part in self.records]
        merged = {name: np.concatenate([part[name] for part in columns if part]) for name in columns[0] or {}}
        keep = merged["step"] > after
        return pa.table({name: values[keep] for name, values in merged.items()})


def run(
    folder: Path,
    backbone: str,
    *,
    fetch: Fetch | None = None,
    resume_from: Path | None = None,
    evals: dict[str, dict[str, pa.Table]] = EVALS,
    **changes: Any,
) -> Run:
    done = Run(folder)
    train_on_rank(
        make_job(backbone, SIZES, **changes),
        fetch=fetch or fetch_from_memory(TABLES),
        eval_sets=EvalSet.of_tables(NAMES, evals),
        device=torch.device("cpu"),
        report=done,
        resume_from=resume_from,
    )
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Run:
    """8 steps in rounds of 3, with checkpoints after 4 and 5 and an evaluation after 4: all mid-round."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder, tiny_backbone, eval_every=4, checkpoint_every=5)


def assert_same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert set(left) == set(right)
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equality with NaN equal to NaN."""
    return left.column_names == right.column_names and all(
        np.array_equal(
            left[name].to_numpy(), right[name].to_numpy(), equal_nan=name in ("mean_uncertainty", "weight")
        )
        for name in left.column_names
    )


def test_the_same_seed_gives_the_same_run_bit_for_bit(whole: Run, tmp_path: Path, tiny_backbone: str) -> None:
    again = run(tmp_path, tiny_backbone, eval_every=4, checkpoint_every=5)
    assert same(whole.table("mix"), again.table("mix"))
    assert same(whole.table("rows"), again.table("rows"))
    assert_same_weights(whole.weights(8), again.weights(8))
    assert [found["scores"] for found in whole.metrics] == [found["scores"] for found in again.metrics]


def test_another_seed_gives_another_run(whole: Run, tmp_path: Path, tiny_backbone: str) -> None:
    other = run(tmp_path, tiny_backbone, seed=4)
    assert not same(whole.table("rows"), other.table("rows"))


@pytest.mark.parametrize("step", [4, 5])
def test_a_resumed_run_consumes_the_same_rows_and_ends_with_the_same_weights(
    whole: Run, tmp_path: Path, tiny_backbone: str, step: int
) -> None:
    resumed = run(
        tmp_path, tiny_backbone, eval_every=4, checkpoint_every=5, resume_from=whole.checkpoint(step)
    )
    assert {records.resumed_at for records in resumed.records} == {step}
    assert resumed.records[0].first_step == step + 1
    assert same(resumed.table("rows"), whole.table("rows", after=step))
    assert same(resumed.table("mix"), whole.table("mix", after=step))
    assert_same_weights(resumed.weights(8), whole.weights(8))
    assert resumed.metrics[-1]["scores"] == whole.metrics[-1]["scores"]


def test_recomputing_or_compiling_the_layers_trains_the_same_model(
    tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = partial(torch.compile, backend="eager")  # the same graphs, without a compiler's minute
    monkeypatch.setattr(torch, "compile", eager)
    plain = run(tmp_path / "plain", tiny_backbone, max_steps=2)
    for change in ("gradient_checkpointing", "compile"):
        switched: dict[str, Any] = {change: True}
        changed = run(tmp_path / change, tiny_backbone, max_steps=2, **switched)
        assert same(changed.table("rows"), plain.table("rows")), change
        for name, value in plain.weights(2).items():
            torch.testing.assert_close(changed.weights(2)[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"by_uncertainty": False, "candidates_per_step": 8, "policy": "size"},
        {"policy": "uniform", "candidates_per_step": 24, "per_task_pool": True},
        {"gradient_accumulation": 3, "max_share_per_task": 0.5, "dropout": True, "precision": "bf16"},
    ],
    ids=["plain", "Algorithm 1", "bounded, with dropout"],
)
def test_every_way_to_sample_resumes_exactly(
    tmp_path: Path, tiny_backbone: str, changes: dict[str, Any]
) -> None:
    model = {**make_job(tiny_backbone, SIZES).model, "dropout": 0.1}
    first = run(tmp_path / "first", tiny_backbone, checkpoint_every=4, model=model, **changes)
    second = run(
        tmp_path / "second",
        tiny_backbone,
        resume_from=first.checkpoint(4),
        checkpoint_every=4,
        model=model,
        **changes,
    )
    assert same(second.table("rows"), first.table("rows", after=4))
    assert_same_weights(second.weights(8), first.weights(8))


def test_a_finished_run_that_is_resumed_does_nothing(whole: Run, tmp_path: Path, tiny_backbone: str) -> None:
    assert run(tmp_path, tiny_backbone, resume_from=whole.checkpoint(8)).records == []


def test_every_step_is_on_record_once(whole: Run) -> None:
    spans = [(records.first_step, records.last_step) for records in whole.records]
    assert spans == [(1, 3), (4, 4), (5, 5), (6, 6), (7, 8)]
    mix, rows = whole.table("mix"), whole.table("rows")
    assert mix["step"].to_pylist() == [step for step in range(1, 9) for _ in NAMES]
    assert mix["task"].to_pylist() == [0, 1, 2] * 8
    by_step = mix.group_by("step").aggregate([("candidates", "sum"), ("trained", "sum"), ("weight", "sum")])
    assert set(by_step["candidates_sum"].to_pylist()) == {16}
    assert set(by_step["trained_sum"].to_pylist()) == {8}
    assert by_step["weight_sum"].to_pylist() == pytest.approx([1.0] * 8)
    counted = rows.group_by(["step", "task"]).aggregate([("row_id", "count")]).to_pylist()
    trained = {(row["step"], row["task"]): row["trained"] for row in mix.to_pylist() if row["trained"]}
    assert {(row["step"], row["task"]): row["row_id_count"] for row in counted} == trained
    assert set(rows["rank"].to_pylist()) == {0}


def test_trained_rows_are_among_the_planned_ones(tmp_path: Path, tiny_backbone: str) -> None:
    fetched: dict[int, TokenRows] = {}
    fetch = fetch_from_memory(TABLES)

    def watch(plan: Plan) -> list[TokenRows]:
        steps = fetch(plan)
        fetched.update(zip(np.unique(plan.step).tolist(), steps, strict=True))
        return steps

    done = run(tmp_path, tiny_backbone, fetch=watch)
    rows = done.table("rows")
    assert sorted(fetched) == list(range(1, 9))
    for step, candidates in fetched.items():
        there = list(zip(candidates.task_ids.tolist(), candidates.row_ids.tolist(), strict=True))
        of_step = rows.filter(np.asarray(rows["step"]) == step)
        trained = list(zip(of_step["task"].to_pylist(), of_step["row_id"].to_pylist(), strict=True))
        assert len(trained) == 8
        for row in trained:
            there.remove(row)  # each once at most


def test_without_selection_every_candidate_is_trained_on(tmp_path: Path, tiny_backbone: str) -> None:
    done = run(tmp_path, tiny_backbone, by_uncertainty=False, candidates_per_step=8)
    mix = done.table("mix")
    assert mix["trained"].to_pylist() == mix["candidates"].to_pylist()
    assert all((records.summary or {})["rows_scored"] == 0 for records in done.records)
    # Nothing was scored beforehand, yet what was trained on tells how sure the model is.
    assert np.isfinite(mix["mean_uncertainty"].to_numpy()[:3]).any()


def test_weights_follow_what_was_measured(whole: Run) -> None:
    """The first two rounds are planned before anything is known; the third from the first one's means."""
    weight = whole.table("mix")["weight"].to_numpy().reshape(8, 3)
    np.testing.assert_allclose(weight[:6], 1 / 3)
    assert (weight[6] != weight[0]).any()
    np.testing.assert_array_equal(weight[6], weight[7])
    assert weight[6, 2] == pytest.approx(weight[6, 0]), "regression is as uncertain as its source"


def test_evaluations_and_checkpoints_come_when_they_are_due(whole: Run) -> None:
    assert [found["step"] for found in whole.metrics] == [4, 5, 8]
    evaluated, unevaluated = whole.metrics[0], whole.metrics[1]
    assert set(evaluated["scores"]["tasks"]) == set(NAMES)
    assert evaluated["average"] == evaluated["scores"]["average"]
    assert unevaluated["scores"] is None
    assert unevaluated["average"] == NOT_EVALUATED < -100, (
        "below any average, also that of negative correlations"
    )
    assert (whole.records[-1].summary or {})["scores"] == whole.metrics[-1]["scores"]
    assert (whole.records[0].summary or {})["scores"] is None


def test_frozen_weights_end_as_they_began(whole: Run, tiny_backbone: str) -> None:
    start, end = CaMtlModel.from_backbone(tiny_backbone, whole_config(whole)).state_dict(), whole.weights(8)
    moved = {
        name
        for name, value in end.items()
        if name.startswith("encoder.") and not torch.equal(value, start[name])
    }
    assert not any(name.startswith("encoder.embeddings.") for name in moved)
    assert any(name.startswith("encoder.encoder.layer.0.") for name in moved)


def whole_config(whole: Run) -> Any:
    return CaMtlModel.from_pretrained(whole.checkpoint(8) / "model").config


def test_summaries_add_up(whole: Run) -> None:
    summaries = [records.summary or {} for records in whole.records]
    assert sum(summary["rows_trained"] for summary in summaries) == 64
    assert sum(summary["rows_scored"] for summary in summaries) == 128
    for summary in summaries:
        assert summary["seconds"] > 0
        assert 0 <= summary["seconds_waited"] <= summary["seconds"]
        assert 0 < summary["tokens_real"] <= summary["tokens_computed"]
        assert sum(summary["loss_rows"]) == summary["rows_trained"]
        assert all(np.isfinite(summary["loss_sums"]))


def test_two_workers_record_what_one_would(
    two_ranks: list[dict[str, Any]], tmp_path: Path, tiny_backbone: str
) -> None:
    changes = {"by_uncertainty": False, "policy": "size", "candidates_per_step": 8, "eval_every": 4}
    alone = run(tmp_path, tiny_backbone, **changes).table("rows")  # type: ignore[arg-type]
    together = rows_of_ranks(two_ranks, "plain")
    assert together == sorted(
        zip(*(alone[name].to_pylist() for name in ("step", "task", "row_id")), strict=True)
    )
    mixes = [records.mix for records, _ in two_ranks[0]["uncertain"]]
    assert all(records.mix is None for records, _ in two_ranks[1]["uncertain"]), "rank 0 tells for all"
    trained = np.concatenate([mix["trained"] for mix in mixes]).reshape(-1, 3).sum(1)
    candidates = np.concatenate([mix["candidates"] for mix in mixes]).reshape(-1, 3).sum(1)
    assert trained.tolist() == [8] * 8
    assert candidates.tolist() == [16] * 8


def rows_of_ranks(two_ranks: Sequence[dict[str, Any]], name: str) -> list[tuple[int, int, int]]:
    return sorted(
        entry
        for found in two_ranks
        for records, _ in found[name]
        for entry in zip(
            *(records.rows[column].tolist() for column in ("step", "task", "row_id")), strict=True
        )
    )


def test_both_ranks_report_equally_often_and_the_same_seconds(two_ranks: list[dict[str, Any]]) -> None:
    for name in ("plain", "uncertain"):
        first, second = (
            [(r.first_step, r.last_step, r.seconds, m is None) for r, m in found[name]] for found in two_ranks
        )
        assert first == second


def test_an_error_while_fetching_ends_the_run(tmp_path: Path, tiny_backbone: str) -> None:
    def fail(plan: Plan) -> list[TokenRows]:
        raise RuntimeError("a node went away")

    with pytest.raises(RuntimeError, match="a node went away"):
        run(tmp_path, tiny_backbone, fetch=fail)


def test_a_node_that_will_be_taken_away_is_answered_with_one_checkpoint_at_once(
    whole: Run, tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.training.loop.ASK_SECONDS", 0.0
    )  # asked at every step, once a round was timed
    warned = Run(tmp_path / "warned")
    asked: list[int] = []

    def preempted() -> bool:
        asked.append(len(warned.records))
        return True

    train_on_rank(
        make_job(tiny_backbone, SIZES, eval_every=None, checkpoint_every=None),
        fetch=fetch_from_memory(TABLES),
        eval_sets=EvalSet.of_tables(NAMES, EVALS),
        device=torch.device("cpu"),
        report=warned,
        preempted=preempted,
    )
    assert [found["step"] for found in warned.metrics] == [4, 8]
    assert len(asked) == 1
    [told] = [note for part in warned.records for note in part.notes]
    assert told == "a node is to be taken away: saving a checkpoint of step 4"
    assert same(whole.table("rows"), warned.table("rows"))
    resumed = run(tmp_path / "resumed", tiny_backbone, resume_from=warned.checkpoint(4), eval_every=None)
    assert_same_weights(resumed.weights(8), whole.weights(8))
