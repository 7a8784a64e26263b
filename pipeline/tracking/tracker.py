"""MLflow, in one place: a run is opened by the driver and written to by one process at a time.

Everything goes through `MlflowClient` with an explicit tracking URI and run id, never through MLflow's
global "active run". A server that is down when a job starts refuses the job (`tracking_runs`); one that goes
away later costs nothing but a warning: metrics and files wait in memory and are sent when it is back.
"""

import functools
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric

from pipeline.tracking.server import reason_of, request_limits
from pipeline.tracking.texts import TAG_LENGTH, allowed_name, redact, shorten

logger = logging.getLogger(__name__)

METRICS_PER_BATCH = 1000  # MLflow's limit for one request

FLUSH_TIMEOUT = 4  # seconds that one request may hold up training
FLUSH_SECONDS = 5.0  # a flush starts nothing further after this long; the rest goes with the next one
UPLOAD_TIMEOUT = 120  # seconds without an answer while a file is sent
LONGEST_RETRY_SECONDS = 120.0
# (model folder, new folder, task names, the model's entry at the server)
SaveModel = Callable[[str, str, Sequence[str], LoggedModel], None]
LAST_WAIT = 120.0  # seconds at a run's end
SHORT_LAST_WAIT = 30.0  # of one that did not finish: it is resumed, and sends what is missing then


class Tracker:
    """Writes to one run: metrics are buffered and sent in batches, files as soon as the server takes them.

    For one process and thread at a time. Making one sends nothing, and it can be pickled, so the driver may
    hand it to the process that will write. No call fails because of the server.

    Args:
        tracking_uri: As in `tracking_runs.start_run`.
        run_id: From `tracking_runs.start_run`.
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
            name = allowed_name(key)
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

    def log_model(self, model_dir: str, task_names: Sequence[str], save_model: SaveModel) -> None:
        """Logs a run's `model/` folder as a model that can be registered, now or when the server is back.

        Args:
            model_dir: Holds the weights, the configuration and the tokenizer.
            task_names: The tasks that the model serves, for the model's description in MLflow.
            save_model: Writes the folder in MLflow's format (`pipeline.serving.pyfunc.save_pyfunc`).

        Raises:
            FileNotFoundError: There is no such folder.
        """
        if not os.path.isdir(model_dir):
            raise FileNotFoundError(f"no folder {model_dir} to log as a model")
        tasks = tuple(task_names)
        self._uploads.append(
            functools.partial(self._send_model, os.path.abspath(model_dir), tasks, save_model)
        )
        self.flush()

    def flush(self) -> bool:
        """Sends what waits, unless a try failed a short while ago.

        Returns:
            Whether nothing waits any more.
        """
        if (self._metrics or self._uploads) and time.monotonic() >= self._next_try:
            self._send(until=time.monotonic() + FLUSH_SECONDS)
        return not (self._metrics or self._uploads)

    def finish(self, status: str, *, patience: float | None = None) -> bool:
        """Sends what waits and closes the run.

        Args:
            status: `FINISHED`, `FAILED` or `KILLED`.
            patience: Seconds to wait for a server that is away; two minutes by default, and half a minute where the
                run did not finish.

        Returns:
            Whether everything was sent and the run closed.
        """
        end_time = int(time.time() * 1000)
        if patience is None:
            patience = LAST_WAIT if status == "FINISHED" else SHORT_LAST_WAIT
        began, told = time.monotonic(), False
        while not (sent := self._send(until=math.inf)) and time.monotonic() < began + patience:
            if not told:
                logger.warning(
                    "waiting up to %g s for MLflow to take %s; Ctrl-C leaves them out",
                    patience,
                    self._waiting(),
                )
                told = True
            time.sleep(min(1.0, patience))
        try:
            with request_limits(FLUSH_TIMEOUT):
                MlflowClient(self.tracking_uri).set_terminated(self.run_id, status, end_time)
            closed = True
        except Exception:  # as in _send
            closed = False
        if not (sent and closed):
            lost = f"{self._waiting()} did not reach it" if not sent else f"it does not know that it {status}"
            lost += "; --run.resume sends them again"
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

    def _send_model(
        self, model_dir: str, task_names: tuple[str, ...], save_model: SaveModel, client: MlflowClient
    ) -> None:
        # What mlflow.pyfunc.log_model does, without its global tracking URI and active run.
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
            save_model(model_dir, path, task_names, logged)
            client.log_model_artifacts(logged.model_id, path)
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self.model_uri = f"models:/{logged.model_id}"

    def _waiting(self) -> str:
        return f"{len(self._metrics)} metric values and {len(self._uploads)} files"
