"""Groups of tasks that go by one name. Without imports, so that a command line can expand them at once."""

from __future__ import annotations

from collections.abc import Iterable

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
SUPER_GLUE = ("boolq", "cb", "copa", "multirc", "record", "superglue_rte", "wic", "wsc")
MRQA = ("squad", "newsqa", "triviaqa", "searchqa", "hotpotqa", "naturalquestions")
# The paper's 24 are 23 different ones: RTE is in GLUE and in SuperGLUE.
PAPER_24 = (*GLUE, *(name for name in SUPER_GLUE if name != "superglue_rte"), *MRQA, "wnut17")

GROUPS: dict[str, tuple[str, ...]] = {
    "glue": GLUE,
    "super_glue": SUPER_GLUE,
    "mrqa": MRQA,
    "paper_24": PAPER_24,
    "paper_26": (*PAPER_24, "snli", "scitail"),
}


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """The names of tasks, with the tasks of a group in the place of its name; what a group repeats is dropped.

    Raises:
        ValueError: A task, or a group, is listed twice.
    """
    listed: set[str] = set()
    expanded: dict[str, None] = {}
    for name in names:
        if name in listed:
            raise ValueError(f"task {name!r} is listed twice: name each task once")
        listed.add(name)
        expanded.update(dict.fromkeys(GROUPS.get(name, (name,))))
    return tuple(expanded)
