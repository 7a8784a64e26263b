"""Sends metrics and files to an MLflow run; one process writes to a run at a time.

All calls use `MlflowClient` with an explicit tracking URI and run id, never MLflow's global active run. A server that
is down at the start of a job stops the job (`tracking.runs`). If it fails later, the tracker logs a warning, keeps
metrics and files in memory and sends them when the server is back.
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

from pipeline.tracking.server import request_limits, summarize_error
from pipeline.tracking.texts import TAG_LENGTH, redact, sanitize_name, shorten

logger = logging.getLogger(__name__)

METRICS_PER_BATCH = 1000  # MLflow's limit for one request

FLUSH_TIMEOUT = 4  # seconds that one request may delay training
FLUSH_SECONDS = 5.0  # after this time a flush starts no further request; the next flush continues
UPLOAD_TIMEOUT = 120  # seconds without an answer during an upload
RETRY_SECONDS = 10.0  # first pause after a failure; it doubles up to the longest one
LONGEST_RETRY_SECONDS = 120.0
LAST_WAIT = 120.0  # seconds that the end of a run waits for a server that is down
SHORT_LAST_WAIT = 30.0  # for a run that did not finish: when it is resumed, it sends what is missing
# (model folder, new folder, task names, the model's entry at the server)
SaveModel = Callable[[str, str, Sequence[str], LoggedModel], None]


class Tracker:
    """Buffers metrics and files of one run and sends them in batches. No method fails because of the server.

    The constructor sends nothing, and a tracker with its buffers can be pickled. It is not thread-safe.
    """

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        """Takes the address of MLflow and the id that `tracking.runs.start_run` returned."""
        self.tracking_uri = tracking_uri
        self.run_id = run_id
        self.status = "FINISHED"  # with which the run closes at the end of a `with` block
        self._metrics: list[tuple[str, float, int, int]] = []  # key, value, timestamp in ms, step
        self._uploads: list[Callable[[MlflowClient], None]] = []
        self._last_steps: dict[str, int] = {}
        self._compared_with_server = False
        self._failures = 0
        self._next_try = 0.0
        self._model_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Buffers values until the next `flush`.

        The steps of a key only rise. A step up to the key's last one is a replay (workers resumed from a checkpoint)
        and is ignored, because MLflow would keep both values. NaN and infinity are ignored too: SQL stores infinity as
        1.8e308, which flattens the rest of the curve.
        """
        timestamp = int(time.time() * 1000)  # MLflow recognises a batch that is sent twice by it
        for key, value in metrics.items():
            name = sanitize_name(key)
            if step <= self._last_steps.get(name, -1):
                continue
            self._last_steps[name] = step
            if math.isfinite(value):
                self._metrics.append((name, float(value), timestamp, step))

    def log_artifact(self, path: str) -> None:
        """Sends a file, which must exist, to the root of the run's artifacts, now or when the server is back."""
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no file {path} to log as an artifact")
        self._uploads.append(functools.partial(self._send_artifact, os.path.abspath(path)))
        self.flush()

    def log_model(self, model_dir: str, task_names: Sequence[str], save_model: SaveModel) -> None:
        """Logs a model folder, which must exist, as a model that can be registered, now or when the server is back.

        `save_model` writes the folder in MLflow's format (`pipeline.serving.pyfunc.save_pyfunc`).
        """
        if not os.path.isdir(model_dir):
            raise FileNotFoundError(f"no folder {model_dir} to log as a model")
        path, names = os.path.abspath(model_dir), tuple(task_names)
        self._uploads.append(functools.partial(self._send_model, path, names, save_model))
        self.flush()

    def flush(self) -> bool:
        """Sends the buffers, unless a try failed a short while ago. Returns whether they are empty."""
        if (self._metrics or self._uploads) and time.monotonic() >= self._next_try:
            self._send(until=time.monotonic() + FLUSH_SECONDS)
        return not (self._metrics or self._uploads)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Closes the run with `status`, as KILLED after Ctrl-C, or as FAILED after any other error."""
        if error is not None:
            self.status = "KILLED" if issubclass(error, KeyboardInterrupt) else "FAILED"
        self.finish(self.status)

    def finish(self, status: str) -> bool:
        """Sends the buffers, waiting for a server that is down, and closes the run as FINISHED, FAILED or KILLED.

        Returns whether everything was sent and the run closed.
        """
        end_time = int(time.time() * 1000)
        patience = LAST_WAIT if status == "FINISHED" else SHORT_LAST_WAIT
        deadline = time.monotonic() + patience
        sent = self._send(until=math.inf)
        if not sent and time.monotonic() < deadline:
            logger.warning(
                "waiting up to %g s to send MLflow %s; Ctrl-C skips them", patience, self._waiting()
            )
        while not sent and time.monotonic() < deadline:
            time.sleep(min(1.0, patience))
            sent = self._send(until=math.inf)
        lost = "" if sent else f"{self._waiting()} were not sent"
        try:
            with request_limits(FLUSH_TIMEOUT):
                MlflowClient(self.tracking_uri).set_terminated(self.run_id, status, end_time)
        except Exception:  # as in _send
            lost = lost or "its status was not updated"
        if lost:
            server = redact(self.tracking_uri)
            logger.warning(
                "MLflow at %s, run %s: %s; --run.resume sends them again", server, self.run_id, lost
            )
        return not lost

    def _send(self, until: float) -> bool:
        """Sends metrics, then files, until the buffers are empty, a request fails or the time is up."""
        try:
            with request_limits(FLUSH_TIMEOUT):
                client = MlflowClient(self.tracking_uri)
                self._send_metrics(client, until)
            while self._uploads and time.monotonic() < until:
                with request_limits(
                    FLUSH_TIMEOUT
                ):  # fails early: an upload to a server that is down takes long
                    client.get_run(self.run_id)
                upload = self._uploads.pop(0)
                try:
                    with request_limits(UPLOAD_TIMEOUT):
                        upload(client)
                except Exception:
                    self._uploads.append(upload)  # to the end: an upload that always fails blocks no other
                    raise
        except Exception as error:  # from the client, a database driver or an artifact store
            self._failures += 1
            pause = min(RETRY_SECONDS * 2 ** min(self._failures - 1, 10), LONGEST_RETRY_SECONDS)
            self._next_try = time.monotonic() + pause
            if self._failures == 1:
                logger.warning(
                    "MLflow at %s is not available (%s); training continues, %s are sent later",
                    redact(self.tracking_uri),
                    summarize_error(error, self.tracking_uri),
                    self._waiting(),
                )
            return False
        if self._failures:
            logger.warning("MLflow at %s is back; the buffers were sent", redact(self.tracking_uri))
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

    def _send_artifact(self, path: str, client: MlflowClient) -> None:
        if os.path.isfile(path):
            client.log_artifact(self.run_id, path)
        else:
            logger.warning("%s was removed before it was sent to MLflow", path)

    def _send_model(
        self, model_dir: str, task_names: tuple[str, ...], save_model: SaveModel, client: MlflowClient
    ) -> None:
        # The steps of mlflow.pyfunc.log_model, without its global tracking URI and active run.
        if self._model_id is None:  # a second try uses the same entry
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

    def _waiting(self) -> str:
        return f"{len(self._metrics)} metric values and {len(self._uploads)} files"
