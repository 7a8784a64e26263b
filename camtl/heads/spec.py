"""`HeadSpec`: what a task predicts."""

from dataclasses import dataclass
from math import isfinite

# Kind -> outputs of the layer; None: the number of the task's classes.
KINDS: dict[str, int | None] = {
    "classification": None,
    "regression": 1,
    "marked": None,
    "choice": 1,
    "tagging": None,
    "span": 2,
}


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """What a task predicts.

    Attributes:
        kind: `classification` of a row; `regression`; `marked`, a classification that also reads the
            states of marked words; `choice` between a row's encodings; `tagging` of words; `span` of
            text in a passage.
        num_labels: classes; 1 for a regression or a choice, 2 (start and end) for a span.
        label_range: (lowest, highest) label of a regression. None computes the squared error in the
            labels' own units, as the published code does.
        label_names: names of the classes, in the order of their numbers.
        null_threshold: a span is answered with "" unless an answer's log odds against "no answer" exceed
            it; None answers every question.
    """

    kind: str = "classification"
    num_labels: int = 2
    label_range: tuple[float, float] | None = None
    label_names: tuple[str, ...] = ()
    null_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"head kind {self.kind!r} is not known: use one of {', '.join(KINDS)}")
        outputs = KINDS[self.kind]
        if outputs is None and self.num_labels < 2:
            raise ValueError(f"a {self.kind} head needs at least 2 labels, not num_labels={self.num_labels}")
        if outputs is not None and self.num_labels != outputs:
            noun = "1 output" if outputs == 1 else f"{outputs} outputs"
            raise ValueError(f"a {self.kind} head has {noun}, not num_labels={self.num_labels}")
        if self.label_range is not None:
            low, high = self.label_range
            if self.kind != "regression" or not low < high:
                raise ValueError(f"label_range={self.label_range} needs a regression and lowest < highest")
            object.__setattr__(self, "label_range", (float(low), float(high)))
        if self.null_threshold is not None and (self.kind != "span" or not isfinite(self.null_threshold)):
            raise ValueError(f"null_threshold={self.null_threshold} needs a span and a finite number")
        if self.label_names and len(self.label_names) != self.num_labels:
            raise ValueError(f"{len(self.label_names)} label_names for num_labels={self.num_labels}")
        object.__setattr__(self, "label_names", tuple(self.label_names))

    @property
    def has_classes(self) -> bool:
        """Whether a row's label is a class number."""
        return self.kind in ("classification", "marked")
