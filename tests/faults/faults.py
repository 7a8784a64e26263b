"""What can happen to a run, each a small function that does it and, where it is a server's fault, undoes it.

A fault is called while the run trains. It says when it strikes (`run.strike()`) and returns when all is as
before but for the run, which has to get over it.
"""

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.runs.events import read_events
from tests.faults.place import Place
from tests.faults.scripted_run import LIMIT, NotSurvived, ScriptedRun
from tests.faults.servers import wait_until
from tests.faults.stored import Checkpoint, checkpoints, damaged
from tests.processes import started_here

TRAIN_WORKER, FETCH, ENCODE = (
    b"ray::RayTrainWorker",
    b"ray::MapBatches(fetch_block)",
    b"ray::MapBatches(encode_block)",
)
OUTAGE = 60.0  # seconds that a server hangs at most
NOTICE = 15  # seconds before a node goes; a spot machine's is 30 s or 2 min
PREEMPTION_TOLD = re.compile(r"a node is to be taken away: saving a checkpoint of step (\d+)")
RESTART = 10.0  # seconds that a server needs to come back at most
STEPS_WITHOUT = 6  # steps that a run takes without a server, which is then back before the run's end


class NotTried(Exception):  # noqa: N818  # what happened, not what is wrong with the harness
    """There was nothing that the fault could have struck."""


@dataclass
class Scene:
    """What a fault acts on.

    Attributes:
        place: with the servers and nodes.
        run: the run, training.
        store: where its checkpoints lie, a folder or an URI.
        random: what chance decides by.
    """

    place: Place
    run: ScriptedRun
    store: str
    random: random.Random


def kill_worker(scene: Scene) -> None:
    """SIGKILL for one of the training's workers."""
    _signal_one(scene, TRAIN_WORKER, signal.SIGKILL)


def kill_fetch(scene: Scene) -> None:
    """SIGKILL for a process of Ray Data, while it fetches rows."""
    _signal_one(scene, FETCH, signal.SIGKILL)


def kill_prepare(scene: Scene) -> None:
    """SIGKILL for a process of Ray Data, while it encodes the data before the first step."""
    _signal_one(scene, ENCODE, signal.SIGKILL)


def kill_driver(scene: Scene) -> None:
    """SIGKILL for the driver, whose user resumes the run."""
    scene.run.strike()
    scene.run.kill()
    scene.run.start()


def lose_node(scene: Scene) -> None:
    """The node of a worker and of what fetches rows is gone; another one comes."""
    scene.run.strike()
    scene.place.nodes.lose_second()
    scene.place.nodes.replace_second()


def preempt_node(scene: Scene) -> None:
    """Ray hears that a worker's node will go; it goes once a checkpoint answers that, and another one comes."""
    run, nodes = scene.run, scene.place.nodes
    nodes.drain_second(NOTICE)

    def answered() -> bool:
        saved = saved_for_notices(run.run_dir)
        return bool(saved) and any(one.step >= saved[-1] for one in _sealed(scene))

    try:
        _hold(lambda: answered() or run.status is not None, NOTICE)
        was_answered, over = answered(), run.status is not None or run.step == run.settings.train.max_steps
        run.strike()
    finally:
        nodes.lose_second()
        nodes.replace_second()
    if not was_answered:
        if over:
            raise NotTried("the run ended before the node went")
        raise NotSurvived(f"no checkpoint answered the notice in {NOTICE} s:\n{run.tail()}")


def saved_for_notices(run_dir: Path) -> list[int]:
    """Steps of the checkpoints that a run has saved because a node was to be taken away."""
    return [int(found[1]) for text in read_events(run_dir) if (found := PREEMPTION_TOLD.search(text))]


def kill_mlflow(scene: Scene) -> None:
    """The MLflow server is killed, and started again some steps later."""
    server = scene.place.mlflow
    _away(scene.run, server.stop, server.start, RESTART)


def hang_mlflow(scene: Scene) -> None:
    """The MLflow server takes connections and answers none, for some steps or a minute."""
    server = scene.place.mlflow
    _away(scene.run, server.pause, server.resume, OUTAGE)


def shut_s3(scene: Scene) -> None:
    """The storage's port is closed, its connections are cut; it is back some steps or seconds later."""
    gate = scene.place.s3.gate
    _away(scene.run, gate.shut, gate.open, RESTART)


def fill_disk(scene: Scene) -> None:
    """The disk has room for half a checkpoint, until a save has met its end."""
    disk, run = scene.place.disk, scene.run
    if disk is None:
        raise NotTried("no small disk")
    size = max((one.size for one in _sealed(scene)), default=0)
    if not size:
        raise NotTried("no checkpoint yet")
    run.strike()
    disk.fill(leave=size // 2)
    left = disk.free
    try:
        _hold(lambda: run.status is not None or disk.free < left // 2, OUTAGE)  # a save meets its end
        _hold(lambda: run.status is not None, RESTART)
    finally:
        disk.make_room()


def cut_checkpoint(scene: Scene) -> None:
    """The newest checkpoint's weights lose their second half, and the driver is killed."""
    _damage_newest(scene, cut=True)


def change_checkpoint(scene: Scene) -> None:
    """Bytes of the newest checkpoint's weights change, and the driver is killed."""
    _damage_newest(scene, cut=False)


def cut_prepared(scene: Scene) -> None:
    """While the run is stopped, a prepared file loses its second half."""
    _damage_prepared(scene, cut=True)


def change_prepared(scene: Scene) -> None:
    """While the run is stopped, bytes of a prepared file change."""
    _damage_prepared(scene, cut=False)


FAULTS: dict[str, Callable[[Scene], None]] = {
    "worker": kill_worker,
    "driver": kill_driver,
    "fetch": kill_fetch,
    "prepare": kill_prepare,
    "node": lose_node,
    "node-preempted": preempt_node,
    "mlflow-killed": kill_mlflow,
    "mlflow-hangs": hang_mlflow,
    "s3": shut_s3,
    "disk": fill_disk,
    "run-disk": fill_disk,
    "checkpoint-cut": cut_checkpoint,
    "checkpoint-changed": change_checkpoint,
    "prepared-cut": cut_prepared,
    "prepared-changed": change_prepared,
}


def _signal_one(scene: Scene, title: bytes, number: signal.Signals) -> None:
    """Signals one of this place's processes of a title, as soon as there is one."""
    run = scene.run
    found: list[int] = []
    while not (found := started_here(title)):
        if run.status is not None:
            raise NotTried(f"the run ended before there was a {title.decode()}")
    run.strike()
    try:
        os.kill(scene.random.choice(found), number)
    except ProcessLookupError as error:  # too late for this one
        raise NotTried("it had just ended") from error


def _away(run: ScriptedRun, down: Callable[[], None], up: Callable[[], None], seconds: float) -> None:
    """Takes something away until the run has taken some steps, is over, or the time is up."""
    run.strike()
    down()
    try:
        until = run.harmed.step + STEPS_WITHOUT
        _hold(lambda: run.step >= until or run.status is not None, seconds)
    finally:
        up()


def _hold(over: Callable[[], bool], seconds: float) -> None:
    """Until this is so, or the time is up."""
    deadline = time.monotonic() + seconds
    while not over() and time.monotonic() < deadline:
        time.sleep(0.02)


def _sealed(scene: Scene) -> list[Checkpoint]:
    return [one for one in checkpoints(scene.store) if one.is_sealed]


def _damage_newest(scene: Scene, *, cut: bool) -> None:
    run = scene.run
    wait_until(lambda: len(_sealed(scene)) > 1 or run.status is not None, "a second checkpoint")
    run.strike()
    run.kill()
    newest = _sealed(scene)[-1]
    newest.damage_weights(cut=cut)
    run.start()


def _damage_prepared(scene: Scene, *, cut: bool) -> None:
    """The resumed run has to name the folder, and to prepare it again or to leave that to its user."""
    run = scene.run
    run.strike()
    run.kill()
    file = scene.random.choice(sorted(Path(run.settings.data.prepared_dir).rglob("*.parquet")))
    file.write_bytes(damaged(file.read_bytes(), cut=cut))
    printed = run.log.stat().st_size
    run.start()
    folder = file.parents[1]

    def told() -> str:
        return run.log.read_bytes()[printed:].decode(errors="replace")

    wait_until(lambda: run.status is not None or "rows of" in told(), "the resumed run to begin", LIMIT)
    if str(folder) not in told() or "Traceback" in told():
        raise NotSurvived(f"{file} was damaged, which is not told in a line:\n{run.tail()}")
    if run.status is not None:
        shutil.rmtree(folder)
        run.start()
