"""Texts as tokens: every distinct text is tokenised once, all of them in one call.

Shapes: N texts, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """N texts as tokens; equal texts share theirs.

    Attributes:
        ids: [T] tokens of all distinct texts, one text after another.
        bounds: [distinct + 1] where each distinct text begins, and the end.
        text: [N] number of the distinct text.
        spans: [T, 2] first and last + 1 character of each token in its text; empty if they were not asked for.
    """

    ids: NDArray[np.int32]
    bounds: Ints
    text: Ints
    spans: NDArray[np.int32]

    @property
    def first(self) -> Ints:
        """[N] position of each text's first token in `ids`."""
        return self.bounds[self.text]

    @property
    def lengths(self) -> Ints:
        """[N] tokens of each text."""
        return np.diff(self.bounds)[self.text]

    def take(self, texts: Ints) -> Tokens:
        """Some of the N texts, in this order, also more than once."""
        return replace(self, text=self.text[texts])

    def locate(self, texts: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """Tokens that cover the characters `starts` to `ends` (exclusive) of some of the texts.

        Args:
            texts: [K] which of the N texts.
            starts: [K] first character.
            ends: [K] last character + 1.

        Returns:
            Positions in `ids` [K] of the first and of the last token; the first lies behind the last
            where no token has any of the characters.
        """
        # Texts lie far apart on one axis, so that one search serves all of them.
        stride = max(int(self.spans.max(initial=0)), int(ends.max(initial=0)), int(starts.max(initial=0))) + 2
        base = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds)) * stride
        own = self.text[texts]
        first = np.searchsorted(base + self.spans[:, 1], own * stride + starts, side="right")
        last = np.searchsorted(base + self.spans[:, 0], own * stride + ends, side="left") - 1
        return np.maximum(first, self.bounds[own]), np.minimum(last, self.bounds[own + 1] - 1)


def tokenize(texts: pa.Array, tokenizer: Tokenizer, *, spans: bool = False) -> Tokens:
    """Tokenises N texts without special tokens and without cutting them.

    Args:
        texts: Strings, none of them null.
        tokenizer: Its truncation and padding are switched off.
        spans: Whether `Tokens.spans` are wanted, which costs time.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    distinct = pc.dictionary_encode(texts)
    batch = distinct.dictionary.to_pylist()
    encode = tokenizer.encode_batch if spans else tokenizer.encode_batch_fast
    encodings = encode(batch, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    total = int(lengths.sum())
    characters = (place for encoding in encodings for pair in encoding.offsets for place in pair)
    return Tokens(
        ids=np.fromiter(chain.from_iterable(ids), np.int32, total),
        bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        text=distinct.indices.to_numpy().astype(np.int64),
        spans=np.fromiter(characters, np.int32, 2 * total).reshape(-1, 2)
        if spans
        else np.empty((0, 2), np.int32),
    )


def ragged_ranges(begins: Ints, lengths: Ints) -> Ints:
    """The ranges `begin, begin + 1, ...` of the given lengths, one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    shift: Ints = np.repeat(begins - (ends - lengths), lengths)
    return shift + np.arange(total)
