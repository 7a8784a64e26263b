"""SNLI (Bowman et al. 2015) and SciTail (Khot et al. 2018): the two tasks to which the paper transfers."""

from __future__ import annotations

from pipeline.tasks.base import SENTENCE_TOKENS, Task, make_task

TASKS: tuple[Task, ...] = (
    make_task(
        "snli",
        "stanfordnlp/snli",
        config="plain_text",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),  # -1: the annotators disagreed
        max_seq_length=SENTENCE_TOKENS,
        description="Does a picture's caption entail or contradict a sentence, or neither?",
    ),
    make_task(
        "scitail",
        "allenai/scitail",
        config="tsv_format",
        text_columns=("premise", "hypothesis"),
        label_names=("neutral", "entails"),  # the rows contain these names, not numbers
        max_seq_length=SENTENCE_TOKENS,
        description="Does a sentence of the web entail the answer to a science question?",
    ),
)
