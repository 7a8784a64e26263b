"""Gold answers of extractive questions and the spans of the context that contain them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.formats.reading import SourceRows, field_names, is_text, require_text

Span = tuple[int, int]  # first character, last + 1
Claim = tuple[str, Span]  # an answer, and where the row says it is


@dataclass(frozen=True)
class Answers:
    """The gold answers of N rows.

    Attributes:
        texts: [N] those that are not empty.
        spans: [N] all spans of the context that contain one.
        stated: [N] whether the row states its answers, even if there are none: not so for null.
    """

    texts: list[list[str]]
    spans: list[list[Span]]
    stated: NDArray[np.bool_]


def read_answers(rows: SourceRows, name: str, detected: str | None, contexts: Sequence[str]) -> Answers:
    """Reads the answers of N rows and finds them in their contexts.

    Args:
        rows: Source rows.
        name: Column of texts, of lists of texts, or of SQuAD's structs `{text, answer_start}`.
        detected: Column of MRQA's detected answers, if any; their spans replace those of `name`.
        contexts: [N].

    Raises:
        ValueError: A column is missing or holds something else.
    """
    column = rows.column(name)
    starts: list[list[int]] = [[]] * len(rows)
    if {"text", "answer_start"} <= set(field_names(column.type)):
        starts = [firsts or [] for firsts in rows.column(f"{name}.answer_start").to_pylist()]
        name = f"{name}.text"
        column = rows.column(name)
    if is_text(column.type):
        texts = [[text] for text in require_text(column.fill_null(""), name, rows.origin).to_pylist()]
    else:
        texts = rows.text_lists(name, may_lack=True).to_pylist()
    if detected is not None:
        claims = _detected(rows, detected)
    else:
        claims = []
        for answers, firsts in zip(texts, starts, strict=True):
            pairs = zip(answers, firsts, strict=True) if len(answers) == len(firsts) else ()
            claims.append([(text, (start, start + len(text))) for text, start in pairs if text.strip()])
    gold = [[text for text in answers if text.strip()] for answers in texts]
    spans = [
        find_spans(context, row_claims, answers) if answers else []
        for context, row_claims, answers in zip(contexts, claims, gold, strict=True)
    ]
    return Answers(gold, spans, column.is_valid().to_numpy(zero_copy_only=False))


def _detected(rows: SourceRows, name: str) -> list[list[Claim]]:
    """Claims of MRQA's structs `{text: [text], char_spans: [{start: [n], end: [n]}]}`, whose ends are inclusive."""
    column = rows.column(name)
    if not {"text", "char_spans"} <= set(field_names(column.type)):
        rows.origin.fail_column(
            name,
            f"holds {column.type}: give MRQA's structs of text and char_spans, or remove the column from the "
            "task to search for the answers' text",
        )
    return [
        [
            (text, (start, end + 1))
            for text, spans in zip(row.get("text") or [], row.get("char_spans") or [], strict=False)
            for start, end in zip(spans["start"], spans["end"], strict=False)
        ]
        for row in (row or {} for row in column.to_pylist())
    ]


def find_spans(context: str, claims: Sequence[Claim], answers: Sequence[str]) -> list[Span]:
    """Spans of the context that contain an answer, those of the first answer first.

    A claim counts if its span has the answer's words. If some spans are complete words, the others (the
    `no` of `known`) do not count. Only without a valid claim the context is searched: for complete words,
    then for complete words in any case, then for the characters alone.
    """
    spans = [
        (start, end)
        for text, (start, end) in claims
        if 0 <= start < end <= len(context) and same_words(context[start:end], text)
    ]
    spans = [span for span in spans if _is_complete(context, span)] or spans
    for pattern, flags in ((r"(?<!\w){}(?!\w)", 0), (r"(?<!\w){}(?!\w)", re.IGNORECASE), ("{}", 0)):
        if spans:
            break
        spans = [
            match.span()
            for answer in answers
            for match in re.finditer(pattern.format(re.escape(answer.strip())), context, flags)
        ]
    return list(dict.fromkeys(spans))


def _is_complete(context: str, span: Span) -> bool:
    """Whether a span neither begins nor ends within a word."""
    start, end = span
    begins = start == 0 or not context[start - 1 : start + 1].isalnum()
    return begins and (end == len(context) or not context[end - 1 : end + 1].isalnum())


def same_words(first: str, second: str) -> bool:
    """Whether two texts differ only in case, articles, punctuation and white space.

    MRQA's spans may differ from the answers that much: `Broncos` stands for `The Broncos`.
    """
    return first == second or _letters(first) == _letters(second) != ""


def _letters(text: str) -> str:
    bare = re.sub(r"[^\w\s]|_", "", text.casefold())
    return "".join(word for word in bare.split() if word not in ("a", "an", "the"))
