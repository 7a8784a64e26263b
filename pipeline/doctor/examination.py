"""All checks in order. Each runs if what it needs is available, and none stops the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from camtl import CaMtlModel
from camtl.backbones import resolve_backbone
from camtl.parameters import count_parameters
from pipeline.config import Settings
from pipeline.data.formats import EncodedRows
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import load_tokenizer, tokenizer_json
from pipeline.doctor.batch import check_batch
from pipeline.doctor.capacity import check_memory, check_workers
from pipeline.doctor.finding import Finding, collect_findings, require
from pipeline.doctor.folders import RunFolder, check_folders, probed_folders
from pipeline.doctor.nodes import NodeReport, check_nodes, inspect_nodes, package_versions
from pipeline.doctor.ray_access import check_ray
from pipeline.doctor.rows import check_tasks, encodings_per_row, first_batch
from pipeline.experiments.assembly import check_model
from pipeline.runs.directory import validate_run
from pipeline.tracking.runs import check_tracking
from pipeline.tracking.server import is_sqlite, sqlite_path
from pipeline.training.job import TrainJob


class Examination:
    """The checks of one run.

    Each check stores what it obtains for those after it; None or empty means that it failed.
    """

    def __init__(self, settings: Settings, job: TrainJob) -> None:
        """Takes settings with absolute paths, and the job of `assembly.build_job`."""
        self._settings, self._job = settings, job
        self._cleanup = contextlib.ExitStack()
        self._model: CaMtlModel | None = None
        self._rows: dict[str, EncodedRows] = {}
        self._ray = self._mlflow = False
        self._folders: list[RunFolder] = []
        self._reports: dict[str, NodeReport] = {}

    def run(self, announce: Callable[[str], None] = lambda subject: None) -> Iterator[Finding]:
        """Yields the findings one by one; `announce` gets the subject of the next check, which may take a while."""
        checks = (
            ("model", "the model's shape", self._check_model),
            ("tasks", f"the rows of {len(self._job.tasks)} tasks", self._check_rows),
            ("Ray", "Ray", self._check_ray),
            ("folders", "the folders", self._probe_folders),
            ("nodes", "the nodes", self._check_nodes),
            ("workers", "the nodes", self._check_workers),
            ("memory", "memory", self._check_memory),
            ("folders", "the folders", self._check_folders),
            ("MLflow", "MLflow", self._check_mlflow),
            ("run directory", "the run directory", self._check_run),
            ("one batch", "one batch through the model", self._check_batch),
        )
        with self._cleanup:
            for name, subject, check in checks:
                announce(subject)
                yield from collect_findings(name, check)

    def _check_model(self) -> list[Finding]:
        self._model = check_model(self._job)
        size = count_parameters(self._model)
        message = f"{self._model.config.variant} on {self._job.backbone}: {size['total']:,} parameters"
        return [Finding("model", True, f"{message}, {size['trainable']:,} trainable")]

    def _check_rows(self) -> list[Finding]:
        data, source = self._settings.data, open_source(self._settings.data.source)
        tokenizer = load_tokenizer(tokenizer_json(resolve_backbone(self._settings.model.backbone)))
        findings, self._rows = check_tasks(self._job.tasks, source, tokenizer, data.max_seq_length)
        return findings

    def _check_ray(self) -> list[Finding]:
        findings = check_ray()
        self._ray = all(finding.ok for finding in findings)
        return findings

    def _probe_folders(self) -> list[Finding]:
        self._folders = self._cleanup.enter_context(probed_folders(self._settings))
        return []

    def _check_nodes(self) -> list[Finding]:
        require(self._ray, "Ray")
        shared = [(each.existing, each.probe) for each in self._folders if each.on_all_nodes and each.probe]
        self._reports, failures = inspect_nodes(shared)
        return check_nodes(self._reports, failures, package_versions())

    def _check_workers(self) -> list[Finding]:
        require(self._ray, "Ray")
        return check_workers(self._settings)

    def _check_memory(self) -> list[Finding]:
        reports, model = require(self._reports, "Ray"), require(self._model, "the model")
        return check_memory(self._settings, self._job, model, encodings_per_row(self._rows), reports)

    def _check_folders(self) -> list[Finding]:
        parameters = sum(p.numel() for p in self._model.parameters()) if self._model else 0
        # The checkpoints kept, the best and the one being written: weights and AdamW's two moments in float32.
        needed = 3 * 4 * parameters * (self._settings.cluster.keep_checkpoints + 2)
        problems = {node: report.problems for node, report in self._reports.items()}
        return check_folders(self._folders, problems, needed)

    def _check_mlflow(self) -> list[Finding]:
        uri = self._settings.run.tracking_uri
        with contextlib.suppress(Exception):  # an unreadable URI is refused below
            if is_sqlite(uri) and not (database := sqlite_path(uri)).exists():
                # This check and the next create an empty one.
                self._cleanup.callback(database.unlink, missing_ok=True)
        check_tracking(uri)
        self._mlflow = True
        return [Finding("MLflow", True, f"{uri} can be used")]

    def _check_run(self) -> list[Finding]:
        require(self._mlflow, "MLflow")
        return [Finding("run directory", True, f"{validate_run(self._settings)} can be used")]

    def _check_batch(self) -> list[Finding]:
        require(self._model, "the model")
        rows = first_batch(self._job.tasks, require(self._rows, "rows of a task"))
        return [check_batch(self._job, rows, on_gpu=self._settings.cluster.use_gpu is not False)]
