"""Extractive answers: the start and end of an answer in a passage (Devlin et al. 2019, §4.2).

A long passage has several windows, each an encoding of the same row. Marked tokens are the positions where
an answer may start or end; the first one of a window means "not in this window". A mark is the sum of 1 if
the answer starts there and 2 if it ends there.
"""

import numpy as np
import torch
from torch import Tensor

from camtl.heads.head import Array, Head
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy, segment_mean

START, END = 1, 2


class SpanHead(Head):
    """A start and an end score for every allowed position."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Start and end scores [e, 2, largest number of positions]; -inf for a window with fewer."""
        scores_k2 = self.project(states_NH[task_rows.tokens])
        empty = scores_k2.new_full((len(task_rows.encodings), task_rows.max_tokens, 2), float("-inf"))
        position = (task_rows.encoding_of_token, task_rows.index_in_encoding)
        return empty.index_put(position, scores_k2).transpose(1, 2)

    def row_losses(self, logits: Tensor, labels: Tensor, task_rows: TaskRows) -> Tensor:
        """Mean cross-entropy of start and end over a row's windows, [n]; reads the marks, not `labels`."""
        marks = torch.zeros_like(logits[:, 0], dtype=torch.long)
        position = (task_rows.encoding_of_token, task_rows.index_in_encoding)
        marks = marks.index_put(position, task_rows.marks)
        true = torch.stack([(marks & START) > 0, (marks & END) > 0], dim=1)
        true_scores = torch.logsumexp(logits.masked_fill(~true, float("-inf")), dim=-1)
        return _row_mean(torch.logsumexp(logits, dim=-1) - true_scores, task_rows)

    def row_uncertainty(self, logits: Tensor, task_rows: TaskRows) -> Tensor:
        """Mean normalised entropy of start and end over a row's windows, [n]."""
        return _row_mean(normalized_entropy(logits), task_rows)

    def unbatch(self, logits: Tensor, task_rows: TaskRows) -> list[list[Array]]:
        """Scores [positions, 2] of each window of each row."""
        positions = np.bincount(task_rows.encoding_of_token.numpy(), minlength=len(task_rows.encodings))
        rows: list[list[Array]] = [[] for _ in range(task_rows.num_rows)]
        for row, scores, count in zip(
            task_rows.row_of_encoding.tolist(), logits.numpy(), positions, strict=True
        ):
            rows[row].append(scores.T[:count])
        return rows


def _row_mean(values_e2: Tensor, task_rows: TaskRows) -> Tensor:
    """Mean of start and end, then over each row's windows, [e, 2] -> [n]."""
    return segment_mean(values_e2.mean(dim=1), task_rows.row_of_encoding, task_rows.num_rows)
