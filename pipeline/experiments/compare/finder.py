"""Finds runs in MLflow and reads their results; writes nothing there."""

import contextlib
import difflib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.experiments.compare.groups import Run
from pipeline.tracking.server import check_reachable, is_sqlite, request_limits, sqlite_path, summarize_error
from pipeline.tracking.texts import redact

READ_TIMEOUT = 20  # seconds for one request
BAD_VALUE = "INVALID_PARAMETER_VALUE"


class RunFinder:
    """Finds runs of one experiment by id, name, parent or query; `remarks` has a line for each run left out."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        """Raises ValueError if MLflow cannot be read, or has no such experiment."""
        self.remarks: list[str] = []
        self._uri, self._experiment = tracking_uri, experiment
        with self._reading():
            if is_sqlite(tracking_uri) and not sqlite_path(tracking_uri).is_file():
                raise ValueError("there is no such file")  # MLflow would create one
            check_reachable(tracking_uri)
            self._client = MlflowClient(tracking_uri)
            stored = self._client.get_experiment_by_name(experiment)
            names = [other.name for other in self._client.search_experiments()]
        if stored is None:
            raise ValueError(f"no experiment {experiment!r}: there are {', '.join(names)}; give --experiment")
        self._experiment_id = stored.experiment_id

    def by_reference(self, reference: str, alias: str = "") -> list[Run]:
        """Returns the run of an id or a name, or the children of a parent.

        Raises:
            ValueError: There is no such run, or it has no results.
        """
        parent = self._find(reference)
        children = self._search(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        if not children:
            if (run := self._read(parent)) is None:
                raise ValueError(f"run {reference}: no results.json, its status is {parent.info.status}")
            return [replace(run, alias=alias)]
        if not (runs := self._read_all(children)):
            raise ValueError(f"run {reference}: none of its {len(children)} children has results")
        if not alias and "seeds" in parent.data.tags:  # one configuration, which has a name
            alias = str(parent.info.run_name)
        return [replace(run, alias=alias) for run in runs]

    def by_query(self, query: str) -> list[Run]:
        """Returns the runs that match a filter in MLflow's language.

        Raises:
            ValueError: The filter is invalid, or matches no run with results.
        """
        try:
            matches = self._search(query)
        except MlflowException as error:
            raise ValueError(f"--query: MLflow cannot read it ({str(error).splitlines()[0]})") from None
        if not (runs := self._read_all(matches)):
            raise ValueError(
                f"--query {query}: {len(matches)} runs in {self._experiment!r}, and none with results"
            )
        return runs

    def _find(self, reference: str) -> Any:
        with self._reading():
            try:
                return self._client.get_run(reference)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", BAD_VALUE):
                    raise
        runs = self._search("")
        named = [run for run in runs if run.info.run_name == reference]
        if not named:
            names = list(dict.fromkeys(str(run.info.run_name) for run in runs))
            near = difflib.get_close_matches(reference, names, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the newest are {', '.join(names[-5:])}"
            raise ValueError(f"no run {reference!r} in experiment {self._experiment!r}: {hint}")
        if len(named) > 1:
            self.remarks.append(f"{len(named)} runs are called {reference}: the newest is used")
        return named[-1]

    def _search(self, query: str) -> list[Any]:
        """Returns all active runs that match a filter, oldest first."""
        runs: list[Any] = []
        token, order, experiments = None, ["attributes.start_time ASC"], [self._experiment_id]
        with self._reading(pass_on=BAD_VALUE):
            while True:
                page = self._client.search_runs(experiments, query, order_by=order, page_token=token)
                runs += page
                if not (token := page.token):
                    return runs

    def _read_all(self, runs: list[Any]) -> list[Run]:
        complete = []
        for run in runs:
            reason = f"no results, {run.info.status}"
            try:
                if run.info.status == "FINISHED" and (read := self._read(run)):
                    complete.append(read)
                    continue
            except UnreadableResultsError as error:
                reason = str(error)
            self.remarks.append(f"{run.info.run_name} is left out: {reason}")
        return complete

    def _read(self, run: Any) -> Run | None:
        """Returns a run with its results; None if it has none."""
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        run_id, name = run.info.run_id, str(run.info.run_name)
        with self._reading(), tempfile.TemporaryDirectory(prefix="camtl-compare-") as folder:
            if "results.json" not in [file.path for file in self._client.list_artifacts(run_id)]:
                return None
            text = Path(self._client.download_artifacts(run_id, "results.json", folder)).read_text()
        try:
            results: dict[str, Any] = json.loads(text)
            scores = [value for metrics in results["tasks"].values() for value in metrics.values()]
            if not all(math.isfinite(value) for value in (results["average"], *scores)):
                raise ValueError("a score is not a number")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableResultsError(
                f"run {name}: its results.json cannot be read ({error}); leave the run out"
            ) from None
        settings = run.data.params
        return Run(
            run_id=run_id,
            name=name,
            started=run.info.start_time,
            seed=int(results.get("seed", settings.get("run.seed", 0))),
            settings=settings,
            results=results,
        )

    @contextlib.contextmanager
    def _reading(self, pass_on: str = "") -> Iterator[None]:
        """Turns any error into one line, except MLflow's of the code `pass_on`."""
        try:
            with request_limits(READ_TIMEOUT, retries=1):
                yield
        except Exception as error:  # the client's, the database driver's or the artifact store's
            if pass_on and isinstance(error, MlflowException) and error.error_code == pass_on:
                raise
            raise ValueError(
                f"MLflow at {redact(self._uri)} cannot be read ({summarize_error(error, self._uri)}): "
                "set --tracking_uri to the address that the runs were logged to"
            ) from None


class UnreadableResultsError(ValueError):
    """A run's results are damaged, or a score in them is not finite."""
