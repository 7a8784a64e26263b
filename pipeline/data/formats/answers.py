"""Gold answers of extractive questions and the places of the context where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.formats.source import Origin, is_text, read_column, read_text_lists, require_text

Place = tuple[int, int]  # first character, last + 1


def read_answers(table: pa.Table, name: str, origin: Origin) -> tuple[list[list[str]], list[list[int]]]:
    """The gold answers of N rows, and where they begin, if the column says so.

    Args:
        table: Source rows.
        name: Column of a text, of lists of texts, or of SQuAD's structs `{text, answer_start}`.
        origin: For error messages.

    Returns:
        Answers that are not empty, and numbers of their first characters; the latter is empty for a row
        or a column that does not tell.

    Raises:
        ValueError: The column is missing or holds something else.
    """
    column = read_column(table, name, origin)
    starts: list[list[int]] = [[]] * len(column)
    if pa.types.is_struct(column.type) and {field.name for field in column.type} >= {"text", "answer_start"}:
        starts = [found or [] for found in pc.struct_field(column, "answer_start").to_pylist()]
        column = pc.struct_field(column, "text")
        table, name = pa.table({name: column}), name
    if is_text(column.type):
        texts = require_text(column.fill_null(""), name, origin).to_pylist()
        return [[text] if text.strip() else [] for text in texts], starts
    given = read_text_lists(pa.table({name: column}), name, origin, may_lack=True).to_pylist()
    answers, begins = [], []
    for texts, firsts in zip(given, starts, strict=True):
        kept = [number for number, text in enumerate(texts) if text.strip()]
        answers.append([texts[number] for number in kept])
        begins.append([firsts[number] for number in kept] if len(firsts) == len(texts) else [])
    return answers, begins


def given_answers(table: pa.Table, name: str, origin: Origin) -> NDArray[np.bool_]:
    """[N] whether a row tells its answers, and be it that there are none: null, or a struct with null, does not."""
    column = read_column(table, name, origin)
    if pa.types.is_struct(column.type) and "text" in {field.name for field in column.type}:
        column = pc.struct_field(column, "text")
    given: NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return given


def detected_places(column: pa.Array) -> Iterator[list[tuple[str, Place]]]:
    """For each row MRQA's detected answers with their places, whose ends the column gives inclusively.

    Args:
        column: Structs `{text: [text], char_spans: [{start: [n], end: [n]}]}`.
    """
    for row in column.to_pylist():
        detected = row or {}
        yield [
            (text, (start, end + 1))
            for text, spans in zip(detected.get("text") or [], detected.get("char_spans") or [], strict=False)
            for start, end in zip(spans["start"], spans["end"], strict=False)
        ]


def places_in(context: str, claimed: Sequence[tuple[str, Place]], answers: Sequence[str]) -> list[Place]:
    """Where a context has one of the answers: the places of the first answer first.

    A claimed place counts where the context has the answer's words there; where some are whole words, the
    others (the `no` of `known`) do not count. Only without a claimed place the context is searched: for
    whole words, then for whole words in any case, then for the bare characters.
    """
    places = [
        (start, end)
        for text, (start, end) in claimed
        if 0 <= start < end <= len(context) and same_words(context[start:end], text)
    ]
    places = [place for place in places if _is_whole(context, place)] or places
    for pattern, flags in ((r"(?<!\w){}(?!\w)", 0), (r"(?<!\w){}(?!\w)", re.IGNORECASE), ("{}", 0)):
        if places:
            break
        places = [
            match.span()
            for answer in answers
            for match in re.finditer(pattern.format(re.escape(answer.strip())), context, flags)
        ]
    return list(dict.fromkeys(places))


def _is_whole(context: str, place: Place) -> bool:
    """Whether a place neither begins nor ends within a word."""
    start, end = place
    begins = start == 0 or not context[start - 1 : start + 1].isalnum()
    return begins and (end == len(context) or not context[end - 1 : end + 1].isalnum())


def same_words(first: str, second: str) -> bool:
    """Whether two texts differ in nothing but case, articles, punctuation and white space.

    So much do the places of MRQA differ from the answers: `Broncos` stands for `The Broncos`.
    """
    return first == second or _letters(first) == _letters(second) != ""


def _letters(text: str) -> str:
    bare = re.sub(r"[^\w\s]|_", "", text.casefold())
    return "".join(word for word in bare.split() if word not in ("a", "an", "the"))


def read_places(
    table: pa.Table, answers: str, detected: str | None, contexts: Sequence[str], origin: Origin
) -> tuple[list[list[str]], list[list[Place]]]:
    """Gold answers of N rows, and all places of the contexts that hold one.

    Args:
        table: Source rows.
        answers: Column of the gold answers, as in `read_answers`.
        detected: Column of MRQA's detected answers, if there is one.
        contexts: [N].
        origin: For error messages.
    """
    gold, starts = read_answers(table, answers, origin)
    claimed: list[list[tuple[str, Place]]] = [
        [(text, (start, start + len(text))) for text, start in zip(texts, begins, strict=False)]
        for texts, begins in zip(gold, starts, strict=True)
    ]
    if detected is not None:
        column = read_column(table, detected, origin)
        _check_detected(column.type, detected, origin)
        claimed = list(detected_places(column))
    rows: Iterator[Any] = zip(contexts, claimed, gold, strict=True)
    return gold, [places_in(context, places, texts) if texts else [] for context, places, texts in rows]


def _check_detected(kind: pa.DataType, name: str, origin: Origin) -> None:
    if not pa.types.is_struct(kind) or not {field.name for field in kind} >= {"text", "char_spans"}:
        raise ValueError(
            f"task {origin.task!r}: column {name!r} of {origin.name} holds {kind}: "
            "give MRQA's structs of text and char_spans, or none and the answers' text is searched for"
        )
