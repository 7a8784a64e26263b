"""The eight tasks of SuperGLUE (Wang et al. 2019), with columns and label numbers of `aps/super_glue` on the Hub."""

from __future__ import annotations

from functools import partial

from pipeline.tasks.base import SENTENCE_TOKENS, Task, make_task

FALSE_TRUE = ("False", "True")

_task = partial(make_task, dataset="aps/super_glue")

TASKS: tuple[Task, ...] = (
    _task(
        "boolq",
        text_columns=("question", "passage"),
        label_names=FALSE_TRUE,
        description="Does a passage answer a question with yes?",
    ),
    _task(
        "cb",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "contradiction", "neutral"),
        metrics=("accuracy", "f1_macro"),
        description="Is the speaker of a premise committed to a hypothesis?",
    ),
    _task(
        "copa",
        kind="choice",
        text_columns=("{premise} What was the {question} of this?",),  # `question` is "cause" or "effect"
        columns={"choices": "choice1,choice2"},
        max_seq_length=SENTENCE_TOKENS,
        description="Which of two sentences is the cause or the effect of a premise?",
    ),
    _task(
        "multirc",
        # The question first, as in BoolQ and MRQA, so that the tasks share what they learn about passages. In a mix
        # of 22 tasks on a small encoder F1a was 27 in this order and 0 in the other (one seed each).
        text_columns=("{question} {answer}", "paragraph"),
        columns={"question": "idx.paragraph,idx.question"},
        label_names=FALSE_TRUE,
        metrics=("f1a", "question_em"),
        description="Is an answer to a question about a paragraph right? Several can be",
    ),
    _task(
        "record",
        kind="choice",
        text_columns=("passage", "query"),
        columns={"choices": "entities", "answers": "answers"},
        metrics=("token_f1", "em"),
        description="Which entity of an article fills the gap in a sentence about it?",
    ),
    _task(
        "superglue_rte",  # the same rows as GLUE's
        config="rte",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "not_entailment"),
        max_seq_length=SENTENCE_TOKENS,
        description="Does a text entail a sentence?",
    ),
    _task(
        "wic",
        kind="marked",
        text_columns=("sentence1", "sentence2"),
        columns={role: role for role in ("start1", "end1", "start2", "end2")},
        label_names=FALSE_TRUE,
        max_seq_length=SENTENCE_TOKENS,
        description="Does a word have the same meaning in two sentences?",
    ),
    _task(
        "wsc",
        kind="marked",
        text_columns=("text",),
        columns={
            "word1": "span1_index",
            "word1_text": "span1_text",
            "word2": "span2_index",
            "word2_text": "span2_text",
        },
        label_names=FALSE_TRUE,
        max_seq_length=SENTENCE_TOKENS,
        description="Does a pronoun refer to a noun?",
    ),
)
