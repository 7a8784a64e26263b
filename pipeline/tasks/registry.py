"""The tasks by name. A new family adds its tasks here; a task of one's own is `register`ed, or read from a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pipeline.tasks.base import Task
from pipeline.tasks.embedded import suite as embedded
from pipeline.tasks.families import glue, mrqa, nli, superglue, wnut
from pipeline.tasks.groups import GROUPS, expand
from pipeline.tasks.metrics.scores import METRICS

_TASKS: dict[str, Task] = {}


def register(task: Task) -> None:
    """Makes a task known by its name, in this process.

    Raises:
        ValueError: The name is taken, or one of the task's metrics is unknown.
    """
    check_name(task.name, _TASKS)
    check_metrics(task)
    _TASKS[task.name] = task


def check_name(name: str, taken: Iterable[str]) -> None:
    """Raises ValueError where a name is one of those taken, or a group's."""
    if name in GROUPS:
        raise ValueError(f"{name!r} is the name of a group of tasks: give the task another one")
    if name in taken:
        raise ValueError(f"task {name!r} is already registered: give the new one another name")


def check_metrics(task: Task) -> None:
    """Raises ValueError where one of a task's metrics is unknown."""
    for metric in task.metrics:
        if metric not in METRICS:
            raise ValueError(f"task {task.name!r}: unknown metric {metric!r}{nearest(metric, METRICS)}")


def get_task(name: str) -> Task:
    """The registered task of this name.

    Raises:
        ValueError: There is none; the message names the nearest.
    """
    return _find(name, _TASKS)


def all_tasks() -> tuple[Task, ...]:
    """Every registered task, in the order of registration."""
    return tuple(_TASKS.values())


def resolve(names: Iterable[str], extra: Sequence[Task] = ()) -> tuple[Task, ...]:
    """The tasks of these names, in their order; the name of a group stands for its tasks.

    Args:
        names: Names of tasks and of groups.
        extra: Tasks that are known beside the registered ones.

    Raises:
        ValueError: A name is unknown or given twice, or an extra task's is taken.
    """
    known = dict(_TASKS)
    for task in extra:
        check_name(task.name, known)
        known[task.name] = task
    return tuple(_find(name, known) for name in expand(names))


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: those that are spelt alike, or all."""
    names = list(known)
    close = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    if close:
        return f": did you mean {' or '.join(repr(near) for near in close)}?"
    return f": the known ones are {', '.join(sorted(names))}"


def _find(name: str, known: Mapping[str, Task]) -> Task:
    if name not in known:
        raise ValueError(f"unknown task {name!r}{nearest(name, (*known, *GROUPS))}")
    return known[name]


for _task in (
    *glue.TASKS,
    *superglue.TASKS,
    *mrqa.TASKS,
    *wnut.TASKS,
    *nli.TASKS,
    *embedded.TASKS,
):
    register(_task)
