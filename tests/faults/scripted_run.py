"""A run that a test starts, watches, kills and resumes, as a user would: by the command line."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from pipeline.config import Settings
from pipeline.runs.records import list_chunks

ROOT = Path(__file__).parents[2]
LIMIT = 900.0  # seconds without a new step, its start included, on a machine that does other things too
SETTLING = 1.0  # seconds after a fault in which records may still come that were on their way
STARTS = 4  # of a run that ends with an error, after one fault


class NotSurvived(Exception):  # noqa: N818  # what happened, not what is wrong with the harness
    """A run did not get over a fault; the message says how."""


@dataclass(frozen=True)
class Moment:
    """When something happened: `time.monotonic()`, and the newest recorded step then."""

    time: float
    step: int


class ScriptedRun:
    """The job as a process, and what its run directory says of it.

    Attributes:
        settings: of the run.
        run_dir: of the run.
        log: what all its processes have printed.
        resumed: how often it was started again.
        harmed: when a fault struck last.
        ends: what it told where it ended with an error by itself.
    """

    def __init__(self, settings: Settings, folder: Path, address: str) -> None:
        """`folder` gets the settings and the log; `address` is Ray's."""
        self.settings = settings
        self.run_dir = Path(settings.run.output_dir) / settings.run.name
        self.log = folder / "job.log"
        self.resumed = -1
        self.harmed = Moment(0, 0)
        self.ends: list[str] = []
        self._config = folder / "settings.yaml"
        self._config.write_text(yaml.safe_dump(asdict(settings)))
        self._environment = {**os.environ, "RAY_ADDRESS": address}
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = [Moment(time.monotonic(), 0)]
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self) -> None:
        """Starts it, or goes on with it."""
        known = self.run_dir.is_dir()
        arguments = ["--run.resume", str(self.run_dir)] if known else ["--config", str(self._config)]
        with self.log.open("ab") as log:
            log.write(f"--- started with {arguments[0]}\n".encode())
            log.flush()
            command = [sys.executable, str(ROOT / "jobs" / "train_mtl.py"), *arguments]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self.resumed += 1

    def kill(self) -> None:
        """Ends its driver at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it, if it still runs, and the watch over its records."""
        if self._process is not None:
            self.kill()
        self._over.set()

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def step(self) -> int:
        """The newest step that is recorded."""
        return max((int(chunk.name) for chunk in list_chunks(self.run_dir)), default=0)

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def strike(self) -> None:
        """Notes that a fault strikes now."""
        self.harmed = Moment(time.monotonic(), self.step)

    def recovery(self) -> float | None:
        """Seconds from the last fault to the first step recorded beyond those before it; None before that.

        Steps recorded in the second after it were on their way, and show nothing.
        """
        settled, all_seen = self.harmed.time + SETTLING, list(self._seen)
        before = max(seen.step for seen in all_seen if seen.time <= settled)
        later = [seen for seen in all_seen if seen.time > settled and seen.step > before]
        return later[0].time - self.harmed.time if later else None

    def wait_for_step(self, step: int) -> bool:
        """Waits until a step is recorded. Returns whether the run still goes on then.

        Raises:
            NotSurvived: it ended with an error, or no step came for a long time.
        """
        while self.step < step and self.status is None:
            self._check_time()
            time.sleep(0.02)
        if self.status:
            raise NotSurvived(f"ended with status {self.status}:\n{self.tail()}")
        return self.status is None

    def wait_until_recovered(self) -> float:
        """Waits for a step beyond those recorded when the last fault struck, or for the run's end.

        A run that ends with an error is resumed, as its user would do; `resumed` counts it.

        Returns:
            Seconds since the fault.

        Raises:
            NotSurvived: it ends again and again, or no step comes for a long time.
        """
        for _ in range(STARTS):
            while self.status is None:
                if (seconds := self.recovery()) is not None:
                    return seconds
                self._check_time()
                time.sleep(0.02)
            if self.status == 0:
                return self.recovery() or time.monotonic() - self.harmed.time
            self.ends.append(self.tail(1))
            self.start()
        raise NotSurvived(f"ended with an error {STARTS} times:\n{self.tail()}")

    def wait_for_end(self) -> None:
        """Waits for its end; one that ends with an error has not survived.

        Raises:
            NotSurvived: as `wait_for_step` does.
        """
        self.wait_for_step(1 << 40)

    def _check_time(self) -> None:
        newest = max(self._seen[-1].time, self.harmed.time)
        if time.monotonic() - newest > LIMIT:
            raise NotSurvived(f"no step after {self.step} for {LIMIT:g} s:\n{self.tail()}")

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            step = self.step
            if step != self._seen[-1].step:
                self._seen.append(Moment(time.monotonic(), step))
