"""SNLI (Bowman et al. 2015) and SciTail (Khot et al. 2018): the paper's two tasks for moving to."""

from __future__ import annotations

from camtl.heads import HeadSpec
from pipeline.tasks.base import SENTENCE_TOKENS, Task

TASKS: tuple[Task, ...] = (
    Task(
        name="snli",
        dataset="stanfordnlp/snli",
        config="plain_text",
        text_columns=("premise", "hypothesis"),
        head=HeadSpec(num_labels=3),
        label_names=("entailment", "neutral", "contradiction"),  # -1: the annotators did not agree
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Whether a picture's caption entails or contradicts a sentence, or neither",
    ),
    Task(
        name="scitail",
        dataset="allenai/scitail",
        config="tsv_format",
        text_columns=("premise", "hypothesis"),
        head=HeadSpec(num_labels=2),
        label_names=("neutral", "entails"),  # the set has the names in the place of numbers
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Whether a sentence of the web entails an answer to a question of science",
    ),
)
