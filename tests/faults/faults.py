"""The faults: each is a function that injects it into a run and, where it is an outage, ends it.

A fault is called while the run trains. It calls `run.strike()` when it strikes. When it returns, the environment
is as before, and the run has to recover.
"""

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.runs.events import read_events
from tests.faults.environment import Environment
from tests.faults.scripted_run import LIMIT, NotSurvivedError, ScriptedRun
from tests.faults.servers import wait_until
from tests.faults.stored import CheckpointFolder, checkpoints, damage
from tests.processes import descendants_named

TRAIN_WORKER = b"ray::RayTrainWorker"
FETCH = b"ray::MapBatches(fetch_block)"
ENCODE = b"ray::MapBatches(encode_block)"
OUTAGE = 60.0  # most seconds that a server hangs
NOTICE = 15  # seconds before a node is lost; clouds give 30 s or 2 min
PREEMPTION_EVENT = re.compile(r"a node is to be taken away: saving a checkpoint of step (\d+)")
RESTART = 10.0  # most seconds until a server is back
STEPS_WITHOUT = 6  # steps that a run trains without a server, which is back before the run's end

Effect = Callable[[Environment], None]


class NotTriedError(Exception):
    """There was nothing that the fault could strike."""


@dataclass
class FaultContext:
    """What a fault acts on: the servers and nodes, a run that trains, and the folder or URI of its checkpoints."""

    environment: Environment
    run: ScriptedRun
    store: str
    random: random.Random


def kill_process(context: FaultContext, title: bytes) -> None:
    """Kills one of this environment's processes with a title, as soon as there is one."""
    run = context.run
    while not (processes := descendants_named(title)):
        if run.status is not None:
            raise NotTriedError(f"the run ended before there was a {title.decode()}")
    run.strike()
    try:
        os.kill(context.random.choice(processes), signal.SIGKILL)
    except ProcessLookupError as error:
        raise NotTriedError("the process had just ended") from error


def kill_driver(context: FaultContext) -> None:
    """Kills the driver and resumes the run."""
    context.run.strike()
    context.run.kill()
    context.run.start()


def lose_node(context: FaultContext) -> None:
    """Kills the node of a worker and of the tasks that fetch rows, and replaces it."""
    context.run.strike()
    context.environment.nodes.lose_second()
    context.environment.nodes.replace_second()


def preempt_node(context: FaultContext) -> None:
    """Gives notice of a worker node's loss, kills it once a checkpoint is saved, and replaces it."""
    run, nodes = context.run, context.environment.nodes
    nodes.drain_second(NOTICE)

    def saved_in_time() -> bool:
        saved = preemption_checkpoints(run.run_dir)
        return bool(saved) and any(each.step >= saved[-1] for each in _sealed(context))

    try:
        _wait(lambda: saved_in_time() or run.status is not None, NOTICE)
        saved, ended = saved_in_time(), run.status is not None or run.step == run.settings.train.max_steps
        run.strike()
    finally:
        nodes.lose_second()
        nodes.replace_second()
    if not saved:
        if ended:
            raise NotTriedError("the run ended before the node was lost")
        raise NotSurvivedError(f"no checkpoint within {NOTICE} s of the notice:\n{run.tail()}")


def preemption_checkpoints(run_dir: Path) -> list[int]:
    """Returns the steps of the checkpoints that a run saved after a notice."""
    return [int(match[1]) for text in read_events(run_dir) if (match := PREEMPTION_EVENT.search(text))]


def interrupt(context: FaultContext, down: Effect, up: Effect, seconds: float) -> None:
    """Takes a server down until the run has trained some steps or ended, or the time is up."""
    run = context.run
    run.strike()
    down(context.environment)
    try:
        last = run.struck.step + STEPS_WITHOUT
        _wait(lambda: run.step >= last or run.status is not None, seconds)
    finally:
        up(context.environment)


def fill_disk(context: FaultContext) -> None:
    """Leaves room for half a checkpoint on the disk, until a save has failed."""
    disk, run = context.environment.disk, context.run
    if disk is None:
        raise NotTriedError("no small disk")
    size = max((sum(each.files.values()) for each in _sealed(context)), default=0)
    if not size:
        raise NotTriedError("no checkpoint yet")
    run.strike()
    disk.fill(leave=size // 2)
    free = disk.free
    try:
        _wait(lambda: run.status is not None or disk.free < free // 2, OUTAGE)  # until a save uses it up
        _wait(lambda: run.status is not None, RESTART)
    finally:
        disk.make_room()


def damage_newest_checkpoint(context: FaultContext, *, cut: bool) -> None:
    """Kills the driver, damages the weights of the newest of several checkpoints, and resumes the run."""
    run = context.run
    wait_until(lambda: len(_sealed(context)) > 1 or run.status is not None, "a second checkpoint")
    run.strike()
    run.kill()
    _sealed(context)[-1].damage_weights(cut=cut)
    run.start()


def damage_prepared_file(context: FaultContext, *, cut: bool) -> None:
    """Kills the driver, damages a prepared file, and resumes the run.

    The resumed run has to name the folder, and to prepare it again or to end; then its user removes the folder.
    """
    run = context.run
    run.strike()
    run.kill()
    file = context.random.choice(sorted(Path(run.settings.data.prepared_dir).rglob("*.parquet")))
    file.write_bytes(damage(file.read_bytes(), cut=cut))
    start = run.log.stat().st_size
    run.start()
    folder = file.parents[1]

    def output() -> str:
        return run.log.read_bytes()[start:].decode(errors="replace")

    wait_until(lambda: run.status is not None or "rows of" in output(), "the resumed run starts", LIMIT)
    if str(folder) not in output() or "Traceback" in output():
        raise NotSurvivedError(f"{file} was damaged, and no line of the output names it:\n{run.tail()}")
    if run.status is not None:
        shutil.rmtree(folder)
        run.start()


FAULTS: dict[str, Callable[[FaultContext], None]] = {
    "worker": partial(kill_process, title=TRAIN_WORKER),
    "driver": kill_driver,
    "fetch": partial(kill_process, title=FETCH),
    "prepare": partial(kill_process, title=ENCODE),  # before the first step
    "node": lose_node,
    "node-preempted": preempt_node,
    "mlflow-killed": partial(
        interrupt, down=lambda its: its.mlflow.stop(), up=lambda its: its.mlflow.start(), seconds=RESTART
    ),
    "mlflow-hangs": partial(  # it accepts connections without answering
        interrupt, down=lambda its: its.mlflow.pause(), up=lambda its: its.mlflow.resume(), seconds=OUTAGE
    ),
    "s3": partial(  # its port refuses connections, and the existing ones are cut
        interrupt, down=lambda its: its.s3.gate.shut(), up=lambda its: its.s3.gate.open(), seconds=RESTART
    ),
    "disk": fill_disk,
    "run-disk": fill_disk,
    "checkpoint-cut": partial(damage_newest_checkpoint, cut=True),
    "checkpoint-changed": partial(damage_newest_checkpoint, cut=False),
    "prepared-cut": partial(damage_prepared_file, cut=True),
    "prepared-changed": partial(damage_prepared_file, cut=False),
}


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Returns once the condition holds or the time is up."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _sealed(context: FaultContext) -> list[CheckpointFolder]:
    return [each for each in checkpoints(context.store) if each.is_sealed]
