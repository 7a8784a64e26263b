"""What a task is: where its rows come from, which columns it reads, what it predicts and how it is measured.

There are two ways to add a task:
- without code, in a YAML file (`pipeline.data.task_files`), for rows in files or in a data set of the Hub;
- as one `make_task(...)` in a module of `pipeline/tasks/families/`, whose TASKS `pipeline.tasks.registry` collects.

`TASK_KINDS` lists what each kind of task needs. A new kind also needs a head (`camtl/heads/`), a format
(`pipeline/data/formats/`, chosen in `pipeline/data/columns.py`) and a decoding (`pipeline/tasks/decoding.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from camtl.heads import HeadSpec
from camtl.heads.spec import KINDS

# Longest encoding of one or two sentences, as in the paper; passages use the run's limit.
SENTENCE_TOKENS = 128


@dataclass(frozen=True)
class TaskKind:
    """What tasks of one kind declare.

    Attributes:
        texts: Allowed numbers of `text_columns`. Other texts are among `columns`.
        roles: Allowed sets of keys of `columns`. All kinds also read `label_column`, except tagging, span and a
            choice with `answers`.
        metrics: Official metrics if a task names none.
    """

    texts: tuple[int, ...]
    roles: tuple[tuple[str, ...], ...]
    metrics: tuple[str, ...] = ("accuracy",)


# In `columns`, "a,b" names several columns and "a.b" is the field `b` of a struct column `a`.
TASK_KINDS: dict[str, TaskKind] = {
    # question: the columns that rows measured together have in common (MultiRC).
    "classification": TaskKind((1, 2), ((), ("question",))),
    "regression": TaskKind((1, 2), ((),), ("pearson", "spearman")),
    # Two marked words; the second is in the second text, if there is one. start, end: first character, and the
    # character after the last (WiC). word, word_text: index among the words between spaces, and the word (WSC).
    "marked": TaskKind(
        (1, 2), (("start1", "end1", "start2", "end2"), ("word1", "word1_text", "word2", "word2_text"))
    ),
    # choices: one column per choice, or one column of lists; the label is the index of the right choice (COPA).
    # With answers (lists of the right choices) a choice replaces `@placeholder` in the second of two texts (ReCoRD).
    "choice": TaskKind((1,), (("choices",), ("choices", "answers"))),
    # tokens: lists of words. tags: lists of tags, by number or by name.
    "tagging": TaskKind((0,), (("tokens", "tags"),), ("entity_f1",)),
    # answers: texts, lists of texts, or SQuAD's structs. detected: positions of the answers (MRQA).
    "span": TaskKind(
        (0,),
        (("question", "context", "answers"), ("question", "context", "answers", "detected")),
        ("em", "token_f1"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class HubSubset:
    """Rows that share a configuration on the Hub with other tasks' rows; a folder keeps them apart.

    Attributes:
        config: Configuration on the Hub.
        column, value: The task's rows have this value in this column.
    """

    config: str
    column: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything that the pipeline knows of one task; picklable.

    Attributes:
        name: Name in settings, results and folders.
        dataset: Hub id of the data set; "embedded" for the generated suite, "files" for a task with `files`.
        config: Configuration of the data set.
        head: What the task predicts. A saved model keeps it, so it holds `label_names` and `null_threshold` too.
        metrics: Official metrics, keys of `pipeline.tasks.metrics.scores.METRICS`.
        hub_subset: Selects the rows on the Hub, if they have no configuration of their own.
        files: (split, absolute path) of each file; read from there whatever the run's source is.
        text_columns: One or two texts; two are encoded as a pair. A text is a column's name, or a template such as
            "{question} {answer}".
        columns: {role: column} for kinds that read more than texts and a label; roles as in `TASK_KINDS`.
        label_column: Class number or name, value of a regression, or index of the right choice. A row of class -1
            has no label: it is predicted, but neither trained on nor measured.
        id_column: Id of a row. Only the data report uses it, to count repeated ids; repeated rows are kept. None
            uses `idx`, `qid`, `id` or `guid`, if present.
        label_names: Names of the classes or tags in the order of their numbers; empty for other kinds.
        max_seq_length: Longest encoding in tokens, if shorter than the run's.
        null_threshold: For span tasks with unanswerable questions (SQuAD 2): the prediction is "" unless the log
            odds of the best answer exceed the threshold; start with 0. Rows without answers are then trained on as
            unanswerable. None answers every question.
        train_split: Split for training.
        eval_splits: (split, prefix of its metrics' names); splits that the source lacks are skipped.
        uncertainty_from: Task whose uncertainties replace this task's, which has none (a regression).
        description: One line for tables and model cards.
    """

    name: str
    dataset: str
    config: str
    head: HeadSpec
    metrics: tuple[str, ...]
    hub_subset: HubSubset | None = None
    files: tuple[tuple[str, str], ...] = ()
    text_columns: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    label_column: str = "label"
    id_column: str | None = None
    label_names: tuple[str, ...] = ()
    max_seq_length: int | None = None
    null_threshold: float | None = None
    train_split: str = "train"
    eval_splits: tuple[tuple[str, str], ...] = (("validation", ""),)
    uncertainty_from: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        task, kind = f"task {self.name!r}", self.head.kind
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"task name {self.name!r}: use letters, digits, _ - . (it names folders)")
        texts = (2,) if kind == "choice" and "answers" in self.columns else TASK_KINDS[kind].texts
        if len(self.text_columns) not in texts:
            raise ValueError(
                f"{task} of kind {kind} has {len(self.text_columns)} text_columns: "
                f"give {' or '.join(map(str, texts))}{' (its texts are among columns)' * (texts == (0,))}"
            )
        roles = TASK_KINDS[kind].roles
        if set(self.columns) not in map(set, roles):
            raise ValueError(
                f"{task} of kind {kind} has columns for {', '.join(self.columns) or 'no role'}: "
                f"give {' or '.join(', '.join(names) or 'none' for names in roles)}"
            )
        if not self.metrics or not self.eval_splits:
            raise ValueError(f"{task} needs at least one metric and one evaluation split")
        if self.max_seq_length is not None and self.max_seq_length < 8:
            raise ValueError(f"{task} has max_seq_length {self.max_seq_length}: give 8 or more")
        if self.null_threshold is not None:
            if kind != "span":
                raise ValueError(f"{task} of kind {kind} has null_threshold: remove it, only spans have one")
            object.__setattr__(self, "head", replace(self.head, null_threshold=self.null_threshold))
        if self.label_names and not self.head.label_names:
            object.__setattr__(self, "head", replace(self.head, label_names=self.label_names))

    @property
    def source(self) -> str:
        """Where the rows come from, for tables and messages."""
        return f"{len(self.files)} files" if self.files else f"{self.dataset}/{self.config}"


def make_task(
    name: str,
    dataset: str,
    kind: str = "classification",
    *,
    config: str | None = None,
    label_names: tuple[str, ...] = (),
    label_range: tuple[float, float] | None = None,
    metrics: tuple[str, ...] | None = None,
    **fields: Any,
) -> Task:
    """Returns a task with the head that its kind and labels imply.

    Args:
        name, dataset, **fields: As in `Task`.
        kind: A key of `TASK_KINDS`.
        config: As in `Task`; the name by default.
        label_names: Names of the classes or tags; their number is the number of outputs.
        label_range: (lowest, highest) label of a regression; see `HeadSpec`.
        metrics: Official metrics; those of the kind by default.

    Raises:
        ValueError: The fields do not fit the kind.
    """
    outputs = KINDS.get(kind) or len(label_names)
    return Task(
        name=name,
        dataset=dataset,
        config=config or name,
        head=HeadSpec(kind=kind, num_labels=outputs, label_range=label_range),
        label_names=label_names,
        metrics=TASK_KINDS[kind].metrics if metrics is None else metrics,
        **fields,
    )
