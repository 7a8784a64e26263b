"""MLflow, in one place: a run is opened by the driver and written to by one process at a time.

Everything goes through `MlflowClient` with an explicit tracking URI and run id, never through MLflow's
global "active run". A server that is down when a job starts refuses the job; one that goes away later
costs nothing but a warning: metrics and files wait in memory and are sent when it is back.
"""

import functools
import json
import logging
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Read when mlflow is imported: a training job sends no usage data anywhere unless its owner asks for it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from pipeline.tracking_server import (
    check_reachable,
    is_sqlite,
    reason_of,
    redact,
    refusing,
    request_limits,
    shorten,
    sqlite_path,
)

logger = logging.getLogger(__name__)

METRICS_PER_BATCH = 1000  # MLflow's limits for one request, and for the length of texts
PARAMETERS_PER_BATCH = 100
PARAMETER_LENGTH = 6000
TAG_LENGTH = 8000
NAME_LENGTH = 250

FLUSH_TIMEOUT = 4  # seconds that one request may hold up training
FLUSH_SECONDS = 5.0  # a flush starts nothing further after this long; the rest goes with the next one
UPLOAD_TIMEOUT = 120  # seconds without an answer while a file is sent
LONGEST_RETRY_SECONDS = 120.0


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
                _name(key): shorten(redact(value), TAG_LENGTH) for key, value in resolve_tags(tags).items()
            },
        )
        run_id: str = run.info.run_id
        values = [Param(_name(key), value) for key, value in flatten(parameters).items()]
        for start in range(0, len(values), PARAMETERS_PER_BATCH):
            client.log_batch(run_id, params=values[start : start + PARAMETERS_PER_BATCH])
    return run_id


def continue_run(tracking_uri: str, run_id: str) -> None:
    """Marks a run as running again, for a job that resumes; its parameters stay what they were.

    Raises:
        ValueError: The server does not answer, the database cannot be written, or it knows no such run.
    """
    with refusing(tracking_uri):
        check_reachable(tracking_uri)
        MlflowClient(tracking_uri).update_run(run_id, status="RUNNING")


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow parameters: `{"run": {"seed": 1}}` becomes `{"run.seed": "1"}`.

    Lists are written as JSON, passwords in URIs are masked, and what is longer than MLflow takes is cut.
    """
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = json.dumps(value, default=str) if isinstance(value, (list, tuple, Mapping)) else str(value)
            flat[f"{prefix}{key}"] = shorten(redact(text), PARAMETER_LENGTH)
    return flat


class Tracker:
    """Writes to one run: metrics are buffered and sent in batches, files as soon as the server takes them.

    For one process and thread at a time. Making one sends nothing, and it can be pickled, so the driver may
    hand it to the process that will write. No call fails because of the server.

    Args:
        tracking_uri: As in `start_run`.
        run_id: From `start_run`.
        retry_seconds: After a failure the next try waits at least this long, then twice as long, and so on up
            to two minutes: a server that hangs must not hold up training at every flush.
    """

    def __init__(self, tracking_uri: str, run_id: str, *, retry_seconds: float = 10.0) -> None:
        self.tracking_uri = tracking_uri
        self.run_id = run_id
        self.model_uri: str | None = None
        """`models:/<id>` once `log_model` has succeeded; `mlflow.register_model` takes it."""
        self._retry_seconds = retry_seconds
        self._metrics: list[tuple[str, float, int, int]] = []  # key, value, timestamp in ms, step
        self._uploads: list[Callable[[MlflowClient], None]] = []
        self._last_steps: dict[str, int] = {}
        self._compared_with_server = False
        self._failures = 0
        self._next_try = 0.0
        self._model_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Buffers values until the next `flush`.

        The steps of a key only rise: a step that the key has already passed is a replay (workers that went
        back to their last checkpoint) and is ignored, because MLflow would show both values. NaN and infinity
        are left out: SQL stores infinity as 1.8e308, which flattens the rest of the curve.
        """
        timestamp = int(time.time() * 1000)  # fixed here, so that MLflow recognises a batch sent twice
        for key, value in metrics.items():
            name = _name(key)
            if step <= self._last_steps.get(name, -1):
                continue
            self._last_steps[name] = step
            if math.isfinite(value):
                self._metrics.append((name, float(value), timestamp, step))

    def log_artifact(self, path: str, artifact_path: str | None = None) -> None:
        """Sends a file, now or when the server is back.

        Args:
            path: Of an existing file.
            artifact_path: Folder among the run's artifacts; their root by default.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no file {path} to log as an artifact")
        self._uploads.append(functools.partial(self._send_artifact, os.path.abspath(path), artifact_path))
        self.flush()

    def log_model(self, model_dir: str, task_names: Sequence[str]) -> None:
        """Logs a run's `model/` folder as a model that can be registered, now or when the server is back.

        Args:
            model_dir: Holds the weights, the configuration and the tokenizer.
            task_names: The tasks that the model serves, for the model's description in MLflow.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        if not os.path.isdir(model_dir):
            raise FileNotFoundError(f"no folder {model_dir} to log as a model")
        tasks = tuple(task_names)
        self._uploads.append(functools.partial(self._send_model, os.path.abspath(model_dir), tasks))
        self.flush()

    def flush(self) -> bool:
        """Sends what waits, unless a try failed a short while ago.

        Returns:
            Whether nothing waits any more.
        """
        if (self._metrics or self._uploads) and time.monotonic() >= self._next_try:
            self._send(until=time.monotonic() + FLUSH_SECONDS)
        return not (self._metrics or self._uploads)

    def finish(self, status: str, *, patience: float = 30.0) -> bool:
        """Sends what waits and closes the run.

        Args:
            status: `FINISHED`, `FAILED` or `KILLED`.
            patience: Seconds to wait for a server that is away.

        Returns:
            Whether everything was sent and the run closed.
        """
        end_time = int(time.time() * 1000)
        deadline = time.monotonic() + patience
        while not (sent := self._send(until=math.inf)) and time.monotonic() < deadline:
            time.sleep(min(1.0, patience))
        try:
            with request_limits(FLUSH_TIMEOUT):
                MlflowClient(self.tracking_uri).set_terminated(self.run_id, status, end_time)
            closed = True
        except Exception:  # as in _send
            closed = False
        if not (sent and closed):
            lost = f"{self._waiting()} did not reach it" if not sent else f"it does not know that it {status}"
            logger.warning("MLflow at %s, run %s: %s", redact(self.tracking_uri), self.run_id, lost)
        return sent and closed

    def _send(self, until: float) -> bool:
        """Sends what waits, metrics first, until all is sent, something fails or the time is up."""
        try:
            with request_limits(FLUSH_TIMEOUT):
                client = MlflowClient(self.tracking_uri)
                self._send_metrics(client, until)
            while self._uploads and time.monotonic() < until:
                with request_limits(FLUSH_TIMEOUT):
                    client.get_run(self.run_id)  # is it there? then it may take its time over a file
                upload = self._uploads.pop(0)
                try:
                    with request_limits(UPLOAD_TIMEOUT):
                        upload(client)
                except Exception:
                    self._uploads.append(upload)  # behind the others: what always fails holds none of them up
                    raise
        except Exception as error:  # whatever the client, a database driver or an artifact store raises
            self._failures += 1
            wait = min(self._retry_seconds * 2 ** min(self._failures - 1, 10), LONGEST_RETRY_SECONDS)
            self._next_try = time.monotonic() + wait
            if self._failures == 1:
                logger.warning(
                    "MLflow at %s takes nothing at the moment (%s); training goes on, %s are sent later",
                    redact(self.tracking_uri),
                    reason_of(error, self.tracking_uri),
                    self._waiting(),
                )
            return False
        if self._failures:
            logger.warning("MLflow at %s is back, what waited was sent", redact(self.tracking_uri))
        self._failures = 0
        return not (self._metrics or self._uploads)

    def _send_metrics(self, client: MlflowClient, until: float) -> None:
        if self._metrics and not self._compared_with_server:
            # A resumed job replays steps that an earlier process has sent.
            latest = client.get_run(self.run_id).data.to_proto().metrics
            sent = {metric.key: metric.step for metric in latest}
            self._metrics = [metric for metric in self._metrics if metric[3] > sent.get(metric[0], -1)]
            for key, step in sent.items():
                self._last_steps[key] = max(step, self._last_steps.get(key, -1))
            self._compared_with_server = True
        while self._metrics and time.monotonic() < until:
            batch = self._metrics[:METRICS_PER_BATCH]
            client.log_batch(self.run_id, metrics=[Metric(*metric) for metric in batch])
            del self._metrics[: len(batch)]

    def _send_artifact(self, path: str, artifact_path: str | None, client: MlflowClient) -> None:
        if os.path.isfile(path):
            client.log_artifact(self.run_id, path, artifact_path)
        else:
            logger.warning("%s was removed before MLflow could take it", path)

    def _send_model(self, model_dir: str, task_names: tuple[str, ...], client: MlflowClient) -> None:
        # What mlflow.pyfunc.log_model does, without its global tracking URI and active run. Imported here,
        # because it loads torch and mlflow.pyfunc, for which a process that logs no model need not wait.
        from pipeline.serving import save_pyfunc

        if self._model_id is None:  # a second try goes on with the same model
            run = client.get_run(self.run_id)
            self._model_id = client.create_logged_model(
                run.info.experiment_id,
                name="model",
                source_run_id=self.run_id,
                params=run.data.params,
                tags={"tasks": shorten(", ".join(task_names), TAG_LENGTH)},
                model_type="ca-mtl",
            ).model_id
            client.log_outputs(self.run_id, [LoggedModelOutput(self._model_id, step=0)])
        logged = client.get_logged_model(self._model_id)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            save_pyfunc(model_dir, path, task_names, logged)
            client.log_model_artifacts(logged.model_id, path)
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self.model_uri = f"models:/{logged.model_id}"

    def _waiting(self) -> str:
        return f"{len(self._metrics)} metric values and {len(self._uploads)} files"


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


def _name(key: str) -> str:
    """A name as MLflow allows it: one bad character would make it refuse a whole batch."""
    return re.sub(r"[^\w/.\- :]", "_", key)[:NAME_LENGTH]
