"""Extractive answers: where in a passage the answer starts and ends (Devlin et al. 2019, §4.2).

A long passage is several windows, encodings of one row. Marked tokens are those where an answer may
start or end; the first of a window stands for "not in this window". A mark's first bit says that an answer
starts there, its second that one ends there.
"""

import numpy as np
import torch
from torch import Tensor

from camtl.heads.head import Array, Head, per_row
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy

START, END = 1, 2


class SpanHead(Head):
    """A start and an end score for every position that an answer may have."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Start and end scores [e, 2, most positions], -inf beyond a window's own."""
        scores_k2 = self.read(states_NH[where.tokens])
        empty = scores_k2.new_full((where.num_encodings, where.most_tokens, 2), float("-inf"))
        return empty.index_put((where.encoding_of_token, where.place_of_token), scores_k2).transpose(1, 2)

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Mean cross-entropy of start and end, over a row's windows, [n]; the truth is the marks."""
        marks = torch.zeros_like(logits[:, 0], dtype=torch.long)
        marks = marks.index_put((where.encoding_of_token, where.place_of_token), where.marks)
        true = torch.stack([(marks & START) > 0, (marks & END) > 0], dim=1)
        of_true = torch.logsumexp(logits.masked_fill(~true, float("-inf")), dim=-1)
        return per_row((torch.logsumexp(logits, dim=-1) - of_true).mean(dim=1), where)

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Mean of start and end entropy over the log of the positions, over a row's windows, [n]."""
        return per_row(normalized_entropy(logits).mean(dim=1), where)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Scores [positions, 2] of each window of each row."""
        positions = np.bincount(where.encoding_of_token.numpy(), minlength=where.num_encodings)
        windows = [scores.T[:count] for scores, count in zip(logits.numpy(), positions, strict=True)]
        of_row: list[list[Array]] = [[] for _ in range(where.num_rows)]
        for row, window in zip(where.row_of_encoding.tolist(), windows, strict=True):
            of_row[row].append(window)
        return of_row
