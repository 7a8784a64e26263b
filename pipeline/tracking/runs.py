"""Opening MLflow runs, new or continued: where that cannot be done, the job is refused in one line."""

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from pipeline.tracking.server import check_reachable, is_sqlite, refusing, sqlite_path
from pipeline.tracking.texts import TAG_LENGTH, allowed_name, flatten, redact, shorten

PARAMETERS_PER_BATCH = 100  # MLflow's limit for one request


def check_tracking(tracking_uri: str) -> None:
    """Finds out whether runs can be logged there, before anything else is begun.

    Raises:
        ValueError: The server does not answer, or the database cannot be written.
    """
    with refusing(tracking_uri):
        check_reachable(tracking_uri)
        if not is_sqlite(tracking_uri):
            MlflowClient(tracking_uri).search_experiments(max_results=1)


def start_run(
    tracking_uri: str,
    experiment: str,
    run_name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Opens a run and logs its parameters.

    Args:
        tracking_uri: Of a server (`http://…`) or a database (`sqlite:////absolute/path.db`).
        experiment: Created if there is none of this name. With SQLite its artifacts go to `mlartifacts/`
            beside the database, wherever the job was started.
        run_name: Shown in MLflow's list of runs.
        parameters: Settings, nested as they are: `{"data": {"tasks": […]}}` becomes `data.tasks`.
        tags: Beside what MLflow finds out itself (user, script, git commit); `mlflow.parentRunId` makes the
            run a child of that run.

    Returns:
        The run's id.

    Raises:
        ValueError: The server does not answer, or the database cannot be written.
    """
    with refusing(tracking_uri):
        check_reachable(tracking_uri)
        client = MlflowClient(tracking_uri)
        run = client.create_run(
            _experiment_id(client, tracking_uri, experiment),
            run_name=run_name,
            tags={
                allowed_name(key): shorten(redact(value), TAG_LENGTH)
                for key, value in resolve_tags(tags).items()
            },
        )
        run_id: str = run.info.run_id
        values = [Param(allowed_name(key), value) for key, value in flatten(parameters).items()]
        for start in range(0, len(values), PARAMETERS_PER_BATCH):
            client.log_batch(run_id, params=values[start : start + PARAMETERS_PER_BATCH])
    return run_id


def resume_run(tracking_uri: str, run_id: str) -> None:
    """Marks a run as running again, for a job that resumes; its parameters stay what they were.

    Raises:
        ValueError: The server does not answer, the database cannot be written, or it knows no such run.
    """
    with refusing(tracking_uri):
        check_reachable(tracking_uri)
        MlflowClient(tracking_uri).update_run(run_id, status="RUNNING")


def _experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None  # a server knows its own
        if is_sqlite(tracking_uri):
            location = (sqlite_path(tracking_uri).parent / "mlartifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another job may just have created it
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ValueError(f"its experiment {name!r} was deleted")
    return str(found.experiment_id)
