"""All known tasks and groups by name. A new family of tasks is added to `KNOWN_TASKS` here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.errors import suggest
from pipeline.tasks.base import Task
from pipeline.tasks.embedded import suite
from pipeline.tasks.families import glue, mrqa, nli, superglue, wnut

KNOWN_TASKS: dict[str, Task] = {
    task.name: task for family in (glue, superglue, mrqa, wnut, nli, suite) for task in family.TASKS
}

_GLUE, _SUPER_GLUE, _MRQA = (tuple(task.name for task in family.TASKS) for family in (glue, superglue, mrqa))
# The paper's 24 tasks are 23 different ones: RTE is in GLUE and in SuperGLUE.
_PAPER_24 = (*_GLUE, *(name for name in _SUPER_GLUE if name != "superglue_rte"), *_MRQA, "wnut17")
GROUPS: dict[str, tuple[str, ...]] = {
    "glue": _GLUE,
    "super_glue": _SUPER_GLUE,
    "mrqa": _MRQA,
    "paper_24": _PAPER_24,
    "paper_26": (*_PAPER_24, "snli", "scitail"),
}


def resolve_tasks(names: Iterable[str], extra: Sequence[Task] = ()) -> tuple[Task, ...]:
    """Returns the tasks of these names, in order and each once; a group's name stands for its tasks.

    Args:
        names: Names of tasks and of groups.
        extra: Tasks known in addition to `KNOWN_TASKS`, under names of their own.

    Raises:
        ValueError: A name is unknown or listed twice.
    """
    known = KNOWN_TASKS | {task.name: task for task in extra}
    listed: set[str] = set()
    resolved: dict[str, Task] = {}
    for name in names:
        if name in listed:
            raise ValueError(f"task {name!r} is listed twice: list each task once")
        listed.add(name)
        for member in GROUPS.get(name, (name,)):
            if member not in known:
                raise ValueError(f"unknown task {name!r}{suggest(name, (*known, *GROUPS))}")
            resolved[member] = known[member]
    return tuple(resolved.values())
