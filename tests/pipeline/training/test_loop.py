"""The training loop in this process: the same twice, the same after a resume, and every step on record."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from camtl import CaMtlModel, TokenRows
from pipeline.runs.checkpoints.checkpoint import NOT_EVALUATED
from pipeline.sampling.batches import fetch_from_memory
from pipeline.sampling.plan import Plan
from pipeline.sampling.state import SamplerState
from tests.pipeline.training.short_run import (
    EVALS,
    SIZES,
    TABLES,
    Reports,
    assert_same_weights,
    run,
    run_toy,
    same,
)
from tests.toy import HEADS, NAMES, TASKS, make_job, make_table

EVERY: dict[str, Any] = {"eval_every": 4, "checkpoint_every": 5}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Reports:
    """8 steps in rounds of 3, with checkpoints after 4 and 5 and an evaluation after 4: all mid-round."""
    return run_toy(tmp_path_factory.mktemp("complete"), tiny_backbone, **EVERY)


def test_the_same_seed_gives_the_same_run_bit_for_bit(
    complete: Reports, tmp_path: Path, tiny_backbone: str
) -> None:
    again = run_toy(tmp_path, tiny_backbone, **EVERY)
    assert same(complete.table("mix"), again.table("mix"))
    assert same(complete.table("rows"), again.table("rows"))
    assert_same_weights(complete.weights(), again.weights())
    assert [part["scores"] for part in complete.metrics] == [part["scores"] for part in again.metrics]


@pytest.mark.parametrize("step", [4, 5])
def test_a_resumed_run_trains_on_the_same_rows_and_ends_with_the_same_weights(
    complete: Reports, tmp_path: Path, tiny_backbone: str, step: int
) -> None:
    resumed = run_toy(tmp_path, tiny_backbone, resume_from=complete.checkpoint(step), **EVERY)
    assert {records.resumed_at for records in resumed.records} == {step}
    assert resumed.records[0].first_step == step + 1
    assert same(resumed.table("rows"), complete.table("rows", after=step))
    assert same(resumed.table("mix"), complete.table("mix", after=step))
    assert_same_weights(resumed.weights(), complete.weights())
    assert resumed.metrics[-1]["scores"] == complete.metrics[-1]["scores"]


@pytest.mark.parametrize(
    "changes",
    [
        {"by_uncertainty": False, "candidates_per_step": 8, "policy": "size"},
        {"policy": "uniform", "candidates_per_step": 24, "per_task_pool": True},
        {"gradient_accumulation": 3, "max_share_per_task": 0.5, "dropout": True, "precision": "bf16"},
    ],
    ids=["plain", "Algorithm 1", "bounded, with dropout"],
)
def test_every_kind_of_sampling_resumes_exactly(
    tmp_path: Path, tiny_backbone: str, changes: dict[str, Any]
) -> None:
    model = {**make_job(tiny_backbone, SIZES).model, "dropout": 0.1}
    changes = {**changes, "checkpoint_every": 4, "model": model}
    first = run_toy(tmp_path / "first", tiny_backbone, **changes)
    second = run_toy(tmp_path / "second", tiny_backbone, resume_from=first.checkpoint(4), **changes)
    assert same(second.table("rows"), first.table("rows", after=4))
    assert_same_weights(second.weights(), first.weights())
    if "policy" in changes and "by_uncertainty" in changes:  # without selection every candidate is trained on
        mix = first.table("mix")
        assert mix["trained"].to_pylist() == mix["candidates"].to_pylist()
        assert all((records.summary or {})["rows_scored"] == 0 for records in first.records)
        assert np.isfinite(mix["mean_uncertainty"].to_numpy()[:3]).any(), "measured on the trained rows"


@pytest.mark.parametrize(("task", "rows", "pool"), [(0, 40, 16), (0, 1, 8), (2, 24, 16), (2, 1, 8)])
def test_one_task_alone_trains_and_resumes_exactly(
    tmp_path: Path, tiny_backbone: str, task: int, rows: int, pool: int
) -> None:
    """Classification or regression, many rows or one; a regression's candidates are taken as planned."""
    name, table = NAMES[task], make_table(task, rows)
    job = make_job(
        tiny_backbone,
        [rows],
        tasks=(name,),  # of the mixture
        checkpoint_every=5,
        candidates_per_step=pool,
        copy_from={0: None} if task == 2 else {},
        model={"variant": "base", "tasks": [name], "heads": {name: HEADS[name]}, "max_seq_length": 16},
    )
    job = replace(job, tasks=TASKS[task : task + 1])
    data: dict[str, Any] = {"tables": [table], "evals": {name: EVALS[name]}}
    first = run(tmp_path / "first", job, **data)
    mix, trained = first.table("mix"), first.table("rows")["row_id"].to_numpy()
    for column, value in (("weight", 1.0), ("candidates", pool), ("trained", 8)):
        assert mix[column].to_pylist() == [value] * 8
    assert np.isnan(mix["mean_uncertainty"].to_numpy()).all() == (task == 2), "regression alone has none"
    if task == 2:
        planned = job.mixture.current(SamplerState.initial(1)).row
        assert trained[:8].tolist() == table["row_id"].to_numpy()[planned[:8]].tolist()
    assert len(set(trained.tolist())) >= min(rows, 8)
    second = run(tmp_path / "second", job, resume_from=first.checkpoint(5), **data)
    assert same(second.table("rows"), first.table("rows", after=5))
    assert_same_weights(second.weights(), first.weights())


def test_a_finished_run_that_is_resumed_does_nothing(
    complete: Reports, tmp_path: Path, tiny_backbone: str
) -> None:
    assert run_toy(tmp_path, tiny_backbone, resume_from=complete.checkpoint(8)).records == []


def test_recomputing_or_compiling_the_layers_trains_the_same_model(
    tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []  # tests of the model compile it

    def record(encode: Any, dynamic: bool) -> Any:
        compiled.append(dynamic)
        return encode

    monkeypatch.setattr(torch, "compile", record)
    plain = run_toy(tmp_path / "plain", tiny_backbone, max_steps=2)
    for change in ("gradient_checkpointing", "compile"):
        switched: dict[str, Any] = {change: True}
        changed = run_toy(tmp_path / change, tiny_backbone, max_steps=2, **switched)
        assert same(changed.table("rows"), plain.table("rows")), change
        for name, value in plain.weights(2).items():
            torch.testing.assert_close(changed.weights(2)[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert compiled == [True]


def test_every_step_is_on_record_once(complete: Reports) -> None:
    spans = [(records.first_step, records.last_step) for records in complete.records]
    assert spans == [(1, 3), (4, 4), (5, 5), (6, 6), (7, 8)]
    mix, rows = complete.table("mix").to_pandas(), complete.table("rows").to_pandas()
    assert mix["step"].tolist() == [step for step in range(1, 9) for _ in NAMES]
    assert mix["task"].tolist() == [0, 1, 2] * 8
    by_step = mix.groupby("step")[["candidates", "trained", "weight"]].sum()
    assert set(by_step["candidates"]) == {16}
    assert set(by_step["trained"]) == {8}
    assert by_step["weight"].tolist() == pytest.approx([1.0] * 8)
    trained = mix[mix["trained"] > 0].set_index(["step", "task"])["trained"]
    assert rows.groupby(["step", "task"]).size().to_dict() == trained.to_dict()
    assert set(rows["rank"]) == {0}


def test_summaries_add_up(complete: Reports) -> None:
    summaries = [records.summary or {} for records in complete.records]
    assert sum(summary["rows_trained"] for summary in summaries) == 64
    assert sum(summary["rows_scored"] for summary in summaries) == 128
    for summary in summaries:
        assert summary["seconds"] > 0
        assert 0 <= summary["seconds_waited"] <= summary["seconds"]
        assert 0 < summary["tokens_real"] <= summary["tokens_computed"]
        assert sum(summary["loss_rows"]) == summary["rows_trained"]
        assert all(np.isfinite(summary["loss_sums"]))


def test_trained_rows_are_among_the_planned_ones(tmp_path: Path, tiny_backbone: str) -> None:
    fetched: dict[int, TokenRows] = {}

    def record(plan: Plan) -> list[TokenRows]:
        steps = fetch_from_memory(TABLES, plan)
        fetched.update(zip(np.unique(plan.step).tolist(), steps, strict=True))
        return steps

    rows = run(tmp_path, make_job(tiny_backbone, SIZES), fetch=record).table("rows").to_pandas()
    assert sorted(fetched) == list(range(1, 9))
    for step, candidates in fetched.items():
        pool = list(zip(candidates.task_ids.tolist(), candidates.row_ids.tolist(), strict=True))
        trained = list(rows.loc[rows["step"] == step, ["task", "row_id"]].itertuples(index=False, name=None))
        assert len(trained) == 8
        for row in trained:
            pool.remove(row)  # each at most once


def test_weights_follow_what_was_measured(complete: Reports) -> None:
    """The first two rounds are planned before anything is known; the third from the first one's means."""
    weight = complete.table("mix")["weight"].to_numpy().reshape(8, 3)
    np.testing.assert_allclose(weight[:6], 1 / 3)
    assert (weight[6] != weight[0]).any()
    np.testing.assert_array_equal(weight[6], weight[7])
    assert weight[6, 2] == pytest.approx(weight[6, 0]), "regression is as uncertain as its source"


def test_evaluations_and_checkpoints_come_when_they_are_due(complete: Reports) -> None:
    assert [part["step"] for part in complete.metrics] == [4, 5, 8]
    evaluated, unevaluated = complete.metrics[0], complete.metrics[1]
    assert set(evaluated["scores"]["tasks"]) == set(NAMES)
    assert evaluated["average"] == evaluated["scores"]["average"]
    assert unevaluated["scores"] is None
    assert unevaluated["average"] == NOT_EVALUATED < -100, "below any average, also of negative correlations"
    assert (complete.records[-1].summary or {})["scores"] == complete.metrics[-1]["scores"]
    assert (complete.records[0].summary or {})["scores"] is None


def test_frozen_weights_end_as_they_began(complete: Reports, tiny_backbone: str) -> None:
    config = CaMtlModel.from_pretrained(complete.checkpoint(8) / "model").config
    start, end = CaMtlModel.from_backbone(tiny_backbone, config).state_dict(), complete.weights()
    moved = {name for name, value in end.items() if name in start and not torch.equal(value, start[name])}
    assert not any(name.startswith("encoder.embeddings.") for name in moved)
    assert any(name.startswith("encoder.encoder.layer.0.") for name in moved)


def test_two_workers_record_what_one_would(
    two_ranks: list[dict[str, Any]], tmp_path: Path, tiny_backbone: str
) -> None:
    alone = run_toy(tmp_path, tiny_backbone, by_uncertainty=False, policy="size", candidates_per_step=8)
    together = pa.concat_tables([results["plain"].table("rows") for results in two_ranks])
    columns = ["step", "task", "row_id"]
    found, expected = (
        table.select(columns).to_pandas().sort_values(columns).to_numpy().tolist()
        for table in (together, alone.table("rows"))
    )
    assert found == expected
    assert all(records.mix is None for records in two_ranks[1]["uncertain"].records), "rank 0 records for all"
    mix = two_ranks[0]["uncertain"].table("mix").to_pandas().groupby("step")
    assert mix["trained"].sum().tolist() == [8] * 8
    assert mix["candidates"].sum().tolist() == [16] * 8


def test_both_ranks_report_equally_often_and_the_same_seconds(two_ranks: list[dict[str, Any]]) -> None:
    for name in ("plain", "uncertain"):
        first, second = (
            [(part.first_step, part.last_step, part.seconds) for part in results[name].records]
            for results in two_ranks
        )
        assert first == second
        for results in two_ranks:
            assert [metrics["step"] for metrics in results[name].metrics] == [4, 8]


def test_a_run_that_diverges_ends_and_names_the_tasks(tmp_path: Path, tiny_backbone: str) -> None:
    with pytest.raises(ValueError, match=r"the predictions for task .*'two'.* are not finite") as caught:
        run_toy(tmp_path, tiny_backbone, learning_rate=1e30, new_parameters_learning_rate=1e30)
    assert "\n" not in str(caught.value)


def test_a_preemption_notice_causes_one_checkpoint_at_once(
    complete: Reports, tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.loop.ASK_SECONDS", 0.0)  # asks at every step after the first round
    asked: list[bool] = []

    def preempted() -> bool:
        asked.append(True)
        return True

    warned = run(tmp_path / "warned", make_job(tiny_backbone, SIZES), preempted=preempted)
    assert [part["step"] for part in warned.metrics] == [4, 8]
    assert len(asked) == 1
    [note] = [note for part in warned.records for note in part.notes]
    assert note == "a node is to be taken away: saving a checkpoint of step 4"
    assert same(complete.table("rows"), warned.table("rows"))
    resumed = run_toy(tmp_path / "resumed", tiny_backbone, resume_from=warned.checkpoint(4))
    assert_same_weights(resumed.weights(), complete.weights())
