"""WNUT-17 (Derczynski et al. 2017): new and rare names in posts, in tag numbers of `leondz/wnut_17` on the Hub."""

from __future__ import annotations

from camtl.heads import HeadSpec
from pipeline.tasks.base import SENTENCE_TOKENS, Task

TYPES = ("corporation", "creative-work", "group", "location", "person", "product")
TAGS = ("O", *(f"{place}-{name}" for name in TYPES for place in "BI"))

TASKS: tuple[Task, ...] = (
    Task(
        name="wnut17",
        dataset="leondz/wnut_17",
        config="wnut_17",
        head=HeadSpec(kind="tagging", num_labels=len(TAGS)),
        columns={"tokens": "tokens", "tags": "ner_tags"},
        label_names=TAGS,
        max_seq_length=SENTENCE_TOKENS,
        metrics=("entity_f1", "surface_f1"),
        description="Names of persons, places, works and the like in posts",
    ),
)
