"""All checks in order: each is made where what it needs was found, and none stops the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from camtl import CaMtlModel
from camtl.parameters import count_parameters
from pipeline.config import Settings
from pipeline.data.formats import EncodedRows
from pipeline.data.sources.open import open_source
from pipeline.doctor.batch import check_batch
from pipeline.doctor.finding import Finding, guarded
from pipeline.doctor.node import NodeReport, versions
from pipeline.doctor.places import check_places, checkpoint_bytes, marked
from pipeline.doctor.ray_access import check_ray
from pipeline.doctor.resources import check_capacity, check_memory, check_nodes, look_everywhere
from pipeline.doctor.rows import check_tasks, encodings_per_row, few_of_each, tokenizer_of
from pipeline.experiments.assembly import check_model
from pipeline.runs.directory import validate_run
from pipeline.tracking.runs import check_tracking
from pipeline.tracking.server import is_sqlite, sqlite_path
from pipeline.training.job import TrainJob

Begin = Callable[[str], None]


def examine(settings: Settings, job: TrainJob, begin: Begin = lambda name: None) -> Iterator[Finding]:
    """Looks at everything that a run of these settings needs.

    Args:
        settings: With absolute paths.
        job: Of `assembly.build_job`, which finds settings that contradict each other.
        begin: Told what is looked at next, for it may take a while.

    Yields:
        Findings, as they are made.
    """
    model: list[CaMtlModel] = []
    begin("the model's shape")
    yield from guarded("model", lambda: _check_shape(job, model))
    begin(f"the rows of {len(job.tasks)} tasks")
    rows: dict[str, EncodedRows] = {}
    yield from guarded("tasks", lambda: _check_rows(settings, job, rows))
    begin("Ray")
    reached = guarded("Ray", check_ray)
    yield from reached
    in_reach = all(finding.ok for finding in reached)
    begin("the nodes and the folders")
    yield from _check_cluster(settings, job, model, encodings_per_row(rows), in_reach=in_reach)
    begin("MLflow")
    yield from _check_records(settings)
    begin("one batch through the model")
    if not model or not rows:
        yield Finding.skipped("one batch", "rows of a task" if model else "the model")
        return
    on_gpu = settings.cluster.use_gpu is not False
    yield from guarded("one batch", lambda: check_batch(job, few_of_each(job.tasks, rows), on_gpu=on_gpu))


def _check_shape(job: TrainJob, found: list[CaMtlModel]) -> list[Finding]:
    model = check_model(job)
    found.append(model)
    size = count_parameters(model)
    told = f"{size['total']:,} parameters, {size['trainable']:,} of them train"
    return [Finding("model", True, f"{model.config.variant} on {job.backbone}: {told}")]


def _check_cluster(
    settings: Settings, job: TrainJob, model: list[CaMtlModel], encodings: float, *, in_reach: bool
) -> Iterator[Finding]:
    with marked(settings) as places:
        reports: dict[str, NodeReport] = {}
        if in_reach:
            asked = [(place.folder, place.mark) for place in places if place.everywhere and place.mark]

            def ask() -> list[Finding]:
                found, silent = look_everywhere(asked)
                reports.update(found)
                return check_nodes(found, silent, versions())

            yield from guarded("nodes", ask)
            yield from guarded("workers", lambda: check_capacity(settings))
        else:
            yield from (Finding.skipped(name, "Ray") for name in ("nodes", "workers"))
        if reports and model:
            yield from guarded("memory", lambda: check_memory(settings, job, model[0], encodings, reports))
        else:
            yield Finding.skipped("memory", "the model" if reports else "Ray")
        parameters = sum(p.numel() for p in model[0].parameters()) if model else 0
        needed = checkpoint_bytes(parameters, settings.cluster.keep_checkpoints)
        yield from guarded("folders", lambda: check_places(places, reports, needed))


def _check_records(settings: Settings) -> Iterator[Finding]:
    uri = settings.run.tracking_uri

    def check_mlflow() -> list[Finding]:
        check_tracking(uri)
        return [Finding("MLflow", True, f"{uri} can be used")]

    with _untouched(uri):
        tracked = guarded("MLflow", check_mlflow)
        yield from tracked
        if all(finding.ok for finding in tracked):
            yield from guarded(
                "run directory",
                lambda: [Finding("run directory", True, f"{validate_run(settings)} can be had")],
            )
        else:
            yield Finding.skipped("run directory", "MLflow")


@contextlib.contextmanager
def _untouched(uri: str) -> Iterator[None]:
    """Removes the empty SQLite file that trying to write one makes."""
    made: list[Path] = []
    with contextlib.suppress(Exception):  # an URI that cannot be read is told by the check
        made = [path for path in [sqlite_path(uri)] if is_sqlite(uri) and not path.exists()]
    try:
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _check_rows(settings: Settings, job: TrainJob, rows: dict[str, EncodedRows]) -> list[Finding]:
    source, tokenizer = open_source(settings.data.source), tokenizer_of(settings.model.backbone)
    findings, found = check_tasks(job.tasks, source, tokenizer, settings.data.max_seq_length)
    rows.update(found)
    return findings
