"""What a task is: where its rows come from, what is read of them, predicted and measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from camtl.heads import HeadSpec

SENTENCE_TOKENS = 128  # longest encoding of a sentence or two: the paper's; passages take what the run allows
FILES = "files"  # the `dataset` of a task whose rows are in files of its own

# Kind -> sets of roles, of which a task's `columns` fill one; "a,b" names several columns, `a.b` a field of a column
# of structs. What is not here is read by `text_columns` and `label_column`.
ROLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "classification": ((), ("question",)),  # columns that rows measured together have in common (MultiRC)
    "regression": ((),),
    # Two marked words, the second one in the second text if there is one: first character and the one behind the last
    # (WiC), or the number among the words between spaces and the word itself (WSC).
    "marked": (("start1", "end1", "start2", "end2"), ("word1", "word1_text", "word2", "word2_text")),
    # A column of each choice, or one of lists. With `answers`, lists of the right ones, a choice stands for the
    # `@placeholder` of the second text (ReCoRD); without, the label is the number of the right one (COPA).
    "choice": (("choices",), ("choices", "answers")),
    "tagging": (("tokens", "tags"),),  # lists of words, and of tags by number or by name
    # Answers as texts, lists of texts or SQuAD's structs; MRQA's `detected` ones tell where they stand.
    "span": (("question", "context", "answers"), ("question", "context", "answers", "detected")),
}
# Kind -> how many texts it takes by `text_columns`; a choice with `answers` takes two.
TEXTS: dict[str, tuple[int, ...]] = {
    "classification": (1, 2),
    "regression": (1, 2),
    "marked": (1, 2),
    "choice": (1,),
    "tagging": (0,),
    "span": (0,),
}


@dataclass(frozen=True, kw_only=True)
class HubSubset:
    """Where the Hub keeps a task's rows together with those of others, which a folder keeps apart.

    Attributes:
        config: Configuration on the Hub.
        column, value: The rows with this value in this column are the task's.
    """

    config: str
    column: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a run. Picklable, and all that the pipeline knows of it.

    Attributes:
        name: Name in settings, results and folders.
        dataset: Hub id of the data set; `embedded` for the suite that the project generates, `files` for a task
            with `files` of its own.
        config: The data set's configuration.
        hub_subset: Where the rows are on the Hub, if not in a configuration of their own.
        files: (split, absolute path) of a task with files of its own, whatever the run's source is.
        text_columns: One or two texts; two are encoded as a pair. A text is a column's name, or a template such as
            "{question} {answer}".
        columns: {role: column} of the kinds that read more than texts and a label, see `ROLES`.
        label_column: Class numbers or names, values of a regression, or numbers of the right choice. A row of
            class -1 has no label: it is not trained on, and it is predicted but not measured.
        head: What is predicted. It carries `label_names` too, so that a saved model knows them.
        id_column: Id of a row, for the data report alone, which counts those that repeat; rows stay and count each for
            itself. None takes `idx`, `qid`, `id` or `guid`, if the rows have one.
        label_names: Names of the classes or tags in the order of their numbers; empty for other kinds.
        max_seq_length: Longest encoding in tokens, where that is less than the run's.
        null_threshold: For spans some of whose questions have no answer (SQuAD 2): "" is said unless the log odds of
            the best answer exceed it; 0 is a fair start. Rows with an empty list of answers are then trained on as
            unanswerable; without it every question is answered. The head carries it too.
        metrics: Official metrics, names in `pipeline.tasks.metrics.classification.METRICS`.
        train_split: Split that is trained on.
        eval_splits: (split, prefix of its metrics' names); of several, those that the source has are used.
        uncertainty_from: Task whose uncertainties stand in for this one's, which has none (a regression).
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
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(
                f"task name {self.name!r}: use letters, digits, '_', '-' and '.' (it names folders)"
            )
        kind = self.head.kind
        texts = (2,) if kind == "choice" and "answers" in self.columns else TEXTS[kind]
        if len(self.text_columns) not in texts:
            wanted = {
                (1, 2): "one or two",
                (1,): "one",
                (2,): "two",
                (0,): "none, for its texts are among `columns`",
            }
            raise ValueError(f"task {self.name!r} has text_columns {self.text_columns}: give {wanted[texts]}")
        if set(self.columns) not in map(set, ROLES[kind]):
            raise ValueError(
                f"task {self.name!r} of kind {kind} has columns for {', '.join(self.columns) or 'nothing'}: "
                f"give {' or '.join(', '.join(roles) or 'none' for roles in ROLES[kind])}"
            )
        if not self.metrics or not self.eval_splits:
            raise ValueError(f"task {self.name!r} needs at least one metric and one evaluation split")
        if self.max_seq_length is not None and self.max_seq_length < 8:
            raise ValueError(f"task {self.name!r} has max_seq_length {self.max_seq_length}: give 8 or more")
        if self.null_threshold is not None:
            if kind != "span":
                raise ValueError(
                    f"task {self.name!r} is a {kind} with a null_threshold: leave it out, for spans alone have one"
                )
            object.__setattr__(self, "head", replace(self.head, null_threshold=self.null_threshold))
        if self.label_names and not self.head.label_names:
            object.__setattr__(self, "head", replace(self.head, label_names=self.label_names))

    @property
    def source(self) -> str:
        """Where its rows come from, in a few words."""
        return f"{len(self.files)} files" if self.files else f"{self.dataset}/{self.config}"
