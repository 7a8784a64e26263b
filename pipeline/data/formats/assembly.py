"""Encodings put together from pieces of tokenised texts and the tokenizer's special tokens.

A paragraph that is asked forty questions, or a passage that is cut into windows, is tokenised once; what
comes out is what the tokenizer itself makes of each text or pair.

Shapes: E encodings, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.tokens import Ints, Tokens, ragged_ranges


@dataclass(frozen=True)
class Frame:
    """The special tokens that a tokenizer sets around a text or a pair.

    Attributes:
        ids: Before the first text, (between the texts,) after the last.
        types: Their token types.
        text_types: Token type of each text.
    """

    ids: tuple[NDArray[np.int32], ...]
    types: tuple[NDArray[np.int8], ...]
    text_types: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: int) -> Frame:
        """What the tokenizer sets around `texts` (one or two) texts."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        probe = tokenizer.encode("a") if texts == 1 else tokenizer.encode("a", "b")
        sequence = np.array([-1 if number is None else number for number in probe.sequence_ids])
        ids, types = np.array(probe.ids, np.int32), np.array(probe.type_ids, np.int8)
        places = [np.flatnonzero(sequence == number) for number in range(texts)]
        begins = [0, *(int(place[-1]) + 1 for place in places)]
        ends = [*(int(place[0]) for place in places), len(ids)]
        return cls(
            tuple(ids[begin:end] for begin, end in zip(begins, ends, strict=True)),
            tuple(types[begin:end] for begin, end in zip(begins, ends, strict=True)),
            tuple(int(types[place[0]]) for place in places),
        )

    def room(self, max_seq_length: int) -> int:
        """Tokens of the texts that an encoding of `max_seq_length` tokens holds.

        Raises:
            ValueError: It does not hold one of each text.
        """
        room = max_seq_length - sum(map(len, self.ids))
        if room < len(self.text_types):
            raise ValueError(
                f"max_seq_length {max_seq_length} is too short for {len(self.text_types)} text(s) a row: "
                f"use {max_seq_length - room + len(self.text_types)} or more"
            )
        return room


@dataclass(frozen=True)
class Piece:
    """For each of E encodings the part of a text that it holds.

    Attributes:
        tokens: Where from.
        first: [E] position of the part's first token in `tokens.ids`.
        lengths: [E] its tokens.
    """

    tokens: Tokens
    first: Ints
    lengths: Ints


@dataclass(frozen=True)
class Encodings:
    """E encodings, one after another.

    Attributes:
        ids: [T].
        types: [T] token types.
        lengths: [E] tokens of each encoding.
        piece: [T] 0 or 1 for a token of the first or second text, -1 for a special token.
        source: [T] position in that text's `Tokens.ids`, -1 for a special token.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    lengths: Ints
    piece: NDArray[np.int8]
    source: Ints

    @property
    def encoding(self) -> Ints:
        """[T] the encoding that a token belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def first(self) -> Ints:
        """[E] position of each encoding's first token."""
        return np.cumsum(self.lengths) - self.lengths

    def spans(self, piece: int, tokens: Tokens) -> NDArray[np.int32]:
        """[T, 2] character spans of the tokens of one text; (-1, -1) for all others."""
        own = self.piece == piece
        spans = np.full((len(self.ids), 2), -1, np.int32)
        spans[own] = tokens.spans[self.source[own]]
        return spans


def assemble(frame: Frame, pieces: Sequence[Piece]) -> Encodings:
    """Puts encodings together: the frame's special tokens around a piece of each text."""
    count = len(pieces[0].lengths)
    # All tokens that can occur, in one pool: special ones and those of each text alternate, as in an encoding.
    ids: list[NDArray[np.int32]] = []
    types: list[NDArray[np.int8]] = []
    begins: list[Ints] = []  # of each of the 3 or 5 parts of an encoding, in the pool
    lengths: list[Ints] = []
    bases: list[int] = []
    size = 0
    for number, (special, special_types) in enumerate(zip(frame.ids, frame.types, strict=True)):
        ids.append(special)
        types.append(special_types)
        begins.append(np.full(count, size, np.int64))
        lengths.append(np.full(count, len(special), np.int64))
        size += len(special)
        if number < len(pieces):
            piece = pieces[number]
            ids.append(piece.tokens.ids)
            types.append(np.full(len(piece.tokens.ids), frame.text_types[number], np.int8))
            begins.append(size + piece.first)
            lengths.append(piece.lengths)
            bases.append(size)
            size += len(piece.tokens.ids)
    part_lengths = np.stack(lengths, axis=1)  # [E, parts]
    pool = ragged_ranges(np.stack(begins, axis=1).ravel(), part_lengths.ravel())
    part = np.repeat(np.tile(np.arange(part_lengths.shape[1]), count), part_lengths.ravel())
    own = part % 2 == 1
    number_of = (part // 2).astype(np.int8)
    return Encodings(
        ids=np.concatenate(ids)[pool],
        types=np.concatenate(types)[pool],
        lengths=part_lengths.sum(axis=1),
        piece=np.where(own, number_of, np.int8(-1)),
        source=np.where(own, pool - np.array(bases)[np.minimum(number_of, len(bases) - 1)], -1),
    )


def longest_first(first: Ints, second: Ints, room: int) -> tuple[Ints, Ints]:
    """Lengths to which pairs are cut so that they fit: the longer text first, then both.

    The rule of the tokenizers library, `longest_first`.

    Args:
        first: [E] tokens of the first texts.
        second: [E] tokens of the second texts.
        room: Tokens for both.
    """
    short, long = np.minimum(first, second), np.maximum(first, second)
    kept_long = np.minimum(long, np.maximum(room - short, room - room // 2))
    kept_short = np.minimum(short, np.where(short + kept_long > room, room // 2, short))
    swapped = first > second
    return np.where(swapped, kept_long, kept_short), np.where(swapped, kept_short, kept_long)
