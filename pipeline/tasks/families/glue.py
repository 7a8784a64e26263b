"""The nine tasks of GLUE (Wang et al. 2019), with columns and label numbers of `nyu-mll/glue` on the Hub."""

from __future__ import annotations

from functools import partial

from pipeline.tasks.base import SENTENCE_TOKENS, Task, make_task

_task = partial(make_task, dataset="nyu-mll/glue", max_seq_length=SENTENCE_TOKENS)

TASKS: tuple[Task, ...] = (
    _task(
        "cola",
        text_columns=("sentence",),
        label_names=("unacceptable", "acceptable"),
        metrics=("mcc",),
        description="Is a sentence acceptable English?",
    ),
    _task(
        "sst2",
        text_columns=("sentence",),
        label_names=("negative", "positive"),
        description="Sentiment of a sentence of a film review",
    ),
    _task(
        "mrpc",
        text_columns=("sentence1", "sentence2"),
        label_names=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        description="Do two sentences of the news say the same?",
    ),
    _task(
        "stsb",
        kind="regression",
        text_columns=("sentence1", "sentence2"),
        label_range=(0.0, 5.0),
        uncertainty_from="mrpc",
        description="Similarity of two sentences, from 0 to 5",
    ),
    _task(
        "qqp",
        text_columns=("question1", "question2"),
        label_names=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        description="Do two questions on Quora ask the same?",
    ),
    _task(
        "mnli",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),
        eval_splits=(("validation_matched", "matched_"), ("validation_mismatched", "mismatched_")),
        description="Does a premise entail or contradict a hypothesis, or neither?",
    ),
    _task(
        "qnli",
        text_columns=("question", "sentence"),
        label_names=("entailment", "not_entailment"),
        description="Does a sentence answer a question?",
    ),
    _task(
        "rte",
        text_columns=("sentence1", "sentence2"),
        label_names=("entailment", "not_entailment"),
        description="Does a text entail a sentence?",
    ),
    _task(
        "wnli",
        text_columns=("sentence1", "sentence2"),
        label_names=("not_entailment", "entailment"),
        description="Does a sentence whose pronoun is resolved follow from the original?",
    ),
)
