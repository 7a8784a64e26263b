"""The tasks by name. A new family registers its tasks here; a new task of one's own calls `register`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.tasks import embedded, glue
from pipeline.tasks.base import Task
from pipeline.tasks.metrics import METRICS

_TASKS: dict[str, Task] = {}


def register(task: Task) -> None:
    """Makes a task known by its name.

    Raises:
        ValueError: The name is taken, or one of the task's metrics is unknown.
    """
    if task.name in _TASKS:
        raise ValueError(f"task {task.name!r} is already registered: give the new one another name")
    for metric in task.metrics:
        if metric not in METRICS:
            raise ValueError(f"task {task.name!r}: unknown metric {metric!r}{_nearest(metric, METRICS)}")
    _TASKS[task.name] = task


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: There is none; the message names the nearest.
    """
    if name not in _TASKS:
        raise ValueError(f"unknown task {name!r}{_nearest(name, _TASKS)}")
    return _TASKS[name]


def all_tasks() -> tuple[Task, ...]:
    """Every task, in the order of registration."""
    return tuple(_TASKS.values())


def resolve(names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks of these names, in their order.

    Raises:
        ValueError: A name is unknown or given twice.
    """
    tasks: dict[str, Task] = {}
    for name in names:
        if name in tasks:
            raise ValueError(f"task {name!r} is listed twice: name each task once")
        tasks[name] = get_task(name)
    return tuple(tasks.values())


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    if close:
        return f": did you mean {' or '.join(repr(near) for near in close)}?"
    return f": the known ones are {', '.join(sorted(names))}"


for _task in (*glue.TASKS, *embedded.TASKS):
    register(_task)
