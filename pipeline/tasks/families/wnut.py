"""WNUT-17 (Derczynski et al. 2017): new and rare named entities, with tag numbers of `leondz/wnut_17` on the Hub."""

from __future__ import annotations

from pipeline.tasks.base import SENTENCE_TOKENS, Task, make_task

TYPES = ("corporation", "creative-work", "group", "location", "person", "product")

TASKS: tuple[Task, ...] = (
    make_task(
        "wnut17",
        "leondz/wnut_17",
        "tagging",
        config="wnut_17",
        columns={"tokens": "tokens", "tags": "ner_tags"},
        label_names=("O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")),
        max_seq_length=SENTENCE_TOKENS,
        metrics=("entity_f1", "surface_f1"),
        description="Names of persons, locations, works and the like in posts",
    ),
)
