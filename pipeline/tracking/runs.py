"""Creates and resumes MLflow runs; a failure becomes a ValueError of one line with the remedy."""

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from pipeline.tracking.server import check_reachable, is_sqlite, one_line_errors, sqlite_path
from pipeline.tracking.texts import TAG_LENGTH, flatten, redact, sanitize_name, shorten

PARAMETERS_PER_BATCH = 100  # MLflow's limit for one request


def check_tracking(tracking_uri: str) -> None:
    """Checks that the server answers or the database can be written; raises ValueError otherwise."""
    with one_line_errors(tracking_uri):
        check_reachable(tracking_uri)
        if not is_sqlite(tracking_uri):
            MlflowClient(tracking_uri).search_experiments(max_results=1)


def start_run(
    tracking_uri: str, experiment: str, run_name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Creates a run and logs its parameters; returns the run's id.

    Args:
        tracking_uri: a server (`http://…`) or a database (`sqlite:////absolute/path.db`).
        experiment: created if it does not exist. With SQLite its artifacts go to `mlartifacts/` beside the database.
        parameters: nested settings; `{"data": {"tasks": […]}}` becomes the parameter `data.tasks`.
        tags: added to MLflow's own (user, script, git commit); `mlflow.parentRunId` makes the run a child.

    Raises:
        ValueError: as `check_tracking`, or the experiment was deleted.
    """
    with one_line_errors(tracking_uri):
        check_reachable(tracking_uri)
        client = MlflowClient(tracking_uri)
        every_tag = resolve_tags(tags).items()
        run_tags = {sanitize_name(key): shorten(redact(value), TAG_LENGTH) for key, value in every_tag}
        experiment_id = _experiment_id(client, tracking_uri, experiment)
        run_id: str = client.create_run(experiment_id, run_name=run_name, tags=run_tags).info.run_id
        values = [Param(sanitize_name(key), value) for key, value in flatten(parameters).items()]
        for start in range(0, len(values), PARAMETERS_PER_BATCH):
            client.log_batch(run_id, params=values[start : start + PARAMETERS_PER_BATCH])
    return run_id


def resume_run(tracking_uri: str, run_id: str) -> None:
    """Marks a run as running again; raises ValueError as `check_tracking`, or where the run does not exist."""
    with one_line_errors(tracking_uri):
        check_reachable(tracking_uri)
        MlflowClient(tracking_uri).update_run(run_id, status="RUNNING")


def _experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = None  # a server uses its own
        if is_sqlite(tracking_uri):
            location = (sqlite_path(tracking_uri).parent / "mlartifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another job may have created it meanwhile
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise ValueError(f"its experiment {name!r} was deleted")
    return str(experiment.experiment_id)
