"""The nine tasks of GLUE (Wang et al. 2019), in columns and label numbers of `nyu-mll/glue` on the Hub."""

from __future__ import annotations

from camtl.heads import HeadSpec
from pipeline.tasks.base import SENTENCE_TOKENS, Task

DATASET = "nyu-mll/glue"


def _classification(
    name: str,
    text_columns: tuple[str, ...],
    label_names: tuple[str, ...],
    metrics: tuple[str, ...],
    description: str,
    eval_splits: tuple[tuple[str, str], ...] = (("validation", ""),),
) -> Task:
    return Task(
        name=name,
        dataset=DATASET,
        config=name,
        text_columns=text_columns,
        head=HeadSpec(kind="classification", num_labels=len(label_names)),
        label_names=label_names,
        max_seq_length=SENTENCE_TOKENS,
        metrics=metrics,
        eval_splits=eval_splits,
        description=description,
    )


TASKS: tuple[Task, ...] = (
    _classification(
        "cola",
        ("sentence",),
        ("unacceptable", "acceptable"),
        ("mcc",),
        "Whether a sentence is acceptable English",
    ),
    _classification(
        "sst2",
        ("sentence",),
        ("negative", "positive"),
        ("accuracy",),
        "Verdict of a sentence of a film review",
    ),
    _classification(
        "mrpc",
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        ("f1", "accuracy"),
        "Whether two sentences of the news say the same",
    ),
    Task(
        name="stsb",
        dataset=DATASET,
        config="stsb",
        text_columns=("sentence1", "sentence2"),
        head=HeadSpec(kind="regression", num_labels=1, label_range=(0.0, 5.0)),
        max_seq_length=SENTENCE_TOKENS,
        metrics=("pearson", "spearman"),
        uncertainty_from="mrpc",
        description="How similar two sentences are, from 0 to 5",
    ),
    _classification(
        "qqp",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        ("f1", "accuracy"),
        "Whether two questions of Quora ask the same",
    ),
    _classification(
        "mnli",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        "Whether a premise entails or contradicts a hypothesis, or neither",
        (("validation_matched", "matched_"), ("validation_mismatched", "mismatched_")),
    ),
    _classification(
        "qnli",
        ("question", "sentence"),
        ("entailment", "not_entailment"),
        ("accuracy",),
        "Whether a sentence answers a question",
    ),
    _classification(
        "rte",
        ("sentence1", "sentence2"),
        ("entailment", "not_entailment"),
        ("accuracy",),
        "Whether a text entails a sentence",
    ),
    _classification(
        "wnli",
        ("sentence1", "sentence2"),
        ("not_entailment", "entailment"),
        ("accuracy",),
        "Whether a sentence with its pronoun resolved follows from the original",
    ),
)
