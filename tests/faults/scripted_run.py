"""A run that a test starts, watches, kills and resumes through the command line, as a user does."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import yaml

from pipeline.config import Settings
from pipeline.runs.records import last_step

ROOT = Path(__file__).parents[2]
LIMIT = 900.0  # seconds without a new step, with the start of the run, on a busy machine
SETTLING = 1.0  # seconds after a fault in which records may arrive that were sent before
STARTS = 4  # of a run that ends with an error, after one fault


class NotSurvivedError(Exception):
    """A run did not recover from a fault; the message says how it ended."""


class Moment(NamedTuple):
    """A time (`time.monotonic()`), and the newest recorded step then."""

    time: float
    step: int


class ScriptedRun:
    """The job as a process, and the progress in its run directory.

    Attributes:
        settings: Of the run.
        run_dir: Of the run.
        log: File with the output of all its processes.
        resumed: Number of restarts.
        struck: Moment of the last fault.
        errors: Last line of the log each time that the run ended with an error.
    """

    def __init__(self, settings: Settings, folder: Path, address: str) -> None:
        """`folder` gets the settings and the log; `address` is Ray's."""
        self.settings = settings
        self.run_dir = Path(settings.run.output_dir) / settings.run.name
        self.log = folder / "job.log"
        self.resumed = -1
        self.struck = Moment(0, 0)
        self.errors: list[str] = []
        self._config = folder / "settings.yaml"
        self._config.write_text(yaml.safe_dump(asdict(settings)))
        self._environment = {**os.environ, "RAY_ADDRESS": address}
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = [Moment(time.monotonic(), 0)]
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self) -> None:
        """Starts or resumes the run."""
        exists = self.run_dir.is_dir()
        arguments = ["--run.resume", str(self.run_dir)] if exists else ["--config", str(self._config)]
        command = [sys.executable, str(ROOT / "jobs" / "train_mtl.py"), *arguments]
        with self.log.open("ab") as log:
            log.write(f"--- started with {arguments[0]}\n".encode())
            log.flush()
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self.resumed += 1

    def kill(self) -> None:
        """Kills the driver."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kills the driver if it still runs, and stops watching the records."""
        if self._process is not None:
            self.kill()
        self._closed.set()

    @property
    def status(self) -> int | None:
        """Exit status of the driver; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def step(self) -> int:
        """Newest recorded step."""
        return last_step(self.run_dir)

    def tail(self, lines: int = 15) -> str:
        """Returns the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def strike(self) -> None:
        """Notes that a fault strikes now."""
        self.struck = Moment(time.monotonic(), self.step)

    def recovery(self) -> float | None:
        """Returns the seconds from the last fault to the first later step; None before that step.

        Steps recorded within `SETTLING` seconds of the fault do not count: they were sent before.
        """
        settled, moments = self.struck.time + SETTLING, list(self._seen)
        before = max(moment.step for moment in moments if moment.time <= settled)
        later = [moment for moment in moments if moment.time > settled and moment.step > before]
        return later[0].time - self.struck.time if later else None

    def wait_for_step(self, step: int) -> bool:
        """Waits until a step is recorded. Returns whether the run is still going then.

        Raises:
            NotSurvivedError: The run ended with an error, or recorded no step for a long time.
        """
        while self.step < step and self.status is None:
            self._wait()
        if self.status:
            raise NotSurvivedError(f"ended with status {self.status}:\n{self.tail()}")
        return self.status is None

    def wait_for_end(self) -> None:
        """Waits for the end of the run; raises as `wait_for_step`."""
        self.wait_for_step(1 << 40)

    def wait_until_recovered(self) -> float:
        """Waits for a step after the last fault, or for the run's end, and resumes a run that ends with an error.

        Returns:
            Seconds since the fault.

        Raises:
            NotSurvivedError: The run ended too often, or recorded no step for a long time.
        """
        for _ in range(STARTS):
            while self.status is None:
                if (seconds := self.recovery()) is not None:
                    return seconds
                self._wait()
            if self.status == 0:
                return self.recovery() or time.monotonic() - self.struck.time
            self.errors.append(self.tail(1))
            self.start()
        raise NotSurvivedError(f"ended with an error {STARTS} times:\n{self.tail()}")

    def _wait(self) -> None:
        newest = max(self._seen[-1].time, self.struck.time)
        if time.monotonic() - newest > LIMIT:
            raise NotSurvivedError(f"no step after {self.step} for {LIMIT:g} s:\n{self.tail()}")
        time.sleep(0.02)

    def _watch(self) -> None:
        while not self._closed.wait(0.02):
            step = self.step
            if step != self._seen[-1].step:
                self._seen.append(Moment(time.monotonic(), step))
