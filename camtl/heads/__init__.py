"""Task heads: each turns hidden states into logits, losses and an uncertainty. `CaMtlModel` has one per task."""

from collections.abc import Callable

from camtl.heads.choice import ChoiceHead
from camtl.heads.head import Head
from camtl.heads.marked import MarkedHead
from camtl.heads.pooled import ClassificationHead, RegressionHead
from camtl.heads.span import SpanHead
from camtl.heads.spec import KINDS, HeadSpec
from camtl.heads.tagging import TaggingHead

__all__ = ["HEADS", "KINDS", "Head", "HeadSpec"]

HEADS: dict[str, Callable[..., Head]] = {
    "classification": ClassificationHead,
    "regression": RegressionHead,
    "marked": MarkedHead,
    "choice": ChoiceHead,
    "tagging": TaggingHead,
    "span": SpanHead,
}
