"""The eight tasks of SuperGLUE (Wang et al. 2019), in columns and label numbers of `aps/super_glue` on the Hub."""

from __future__ import annotations

from typing import Any

from camtl.heads import HeadSpec
from pipeline.tasks.base import SENTENCE_TOKENS, Task

DATASET = "aps/super_glue"
FALSE_TRUE = ("False", "True")


def _task(config: str, kind: str, *, label_names: tuple[str, ...] = (), **fields: Any) -> Task:
    """A task named like its configuration, where `fields` do not name it; label names make the classes."""
    return Task(
        **{"name": config, **fields},
        dataset=DATASET,
        config=config,
        head=HeadSpec(kind=kind, num_labels=len(label_names) or 1),
        label_names=label_names,
    )


TASKS: tuple[Task, ...] = (
    _task(
        "boolq",
        "classification",
        text_columns=("question", "passage"),
        label_names=FALSE_TRUE,
        metrics=("accuracy",),
        description="Whether a passage answers a question with yes",
    ),
    _task(
        "cb",
        "classification",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "contradiction", "neutral"),
        metrics=("accuracy", "f1_macro"),
        description="Whether a speaker of the premise is committed to the hypothesis",
    ),
    _task(
        "copa",
        "choice",
        text_columns=("{premise} What was the {question} of this?",),  # the question is "cause" or "effect"
        columns={"choices": "choice1,choice2"},
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Which of two sentences is the cause or the effect of a premise",
    ),
    _task(
        "multirc",
        "classification",
        # The question first, as in BoolQ and MRQA: what those learn about passages may serve here. In a mix of 22
        # tasks on a small encoder F1a was 27 so, and 0 the other way round (one seed each).
        text_columns=("{question} {answer}", "paragraph"),
        columns={"question": "idx.paragraph,idx.question"},
        label_names=FALSE_TRUE,
        metrics=("f1a", "question_em"),
        description="Whether an answer to a question about a paragraph is right; several can be",
    ),
    _task(
        "record",
        "choice",
        text_columns=("passage", "query"),
        columns={"choices": "entities", "answers": "answers"},
        metrics=("token_f1", "em"),
        description="Which entity of an article is left out of a sentence about it",
    ),
    _task(
        "rte",
        "classification",
        name="superglue_rte",  # the same rows as GLUE's
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "not_entailment"),
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Whether a text entails a sentence",
    ),
    _task(
        "wic",
        "marked",
        text_columns=("sentence1", "sentence2"),
        columns={role: role for role in ("start1", "end1", "start2", "end2")},
        label_names=FALSE_TRUE,
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Whether a word has one meaning in two sentences",
    ),
    _task(
        "wsc",
        "marked",
        text_columns=("text",),
        columns={
            "word1": "span1_index",
            "word1_text": "span1_text",
            "word2": "span2_index",
            "word2_text": "span2_text",
        },
        label_names=FALSE_TRUE,
        max_seq_length=SENTENCE_TOKENS,
        metrics=("accuracy",),
        description="Whether a pronoun refers to a noun",
    ),
)
