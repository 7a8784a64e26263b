"""Packing: every token appears once, nothing overlaps, and rows stay intact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camtl import PackedBatch, TokenRows
from camtl.packing import PADDING, best_fit_decreasing, best_layout
from tests.toy import assert_same_rows, make_rows, padded

lengths_lists = st.lists(st.integers(1, 40), min_size=1, max_size=24)


@st.composite
def token_rows(draw: st.DrawFn) -> TokenRows:
    lengths = draw(lengths_lists)
    tasks = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    return make_rows(lengths, tasks, seed=draw(st.integers(0, 99)))


@settings(deadline=None)
@given(lengths_lists, st.integers(1, 300))
def test_rows_never_overlap_and_padding_is_only_at_the_end(lengths: list[int], max_width: int) -> None:
    sequence, offset, width = best_layout(np.asarray(lengths), max_width)
    assert width % 8 == 0 or width == max_width
    assert max(lengths) <= width <= max(max_width, -(-max(lengths) // 8) * 8)
    assert sorted(set(sequence.tolist())) == list(range(sequence.max() + 1))
    for number in range(sequence.max() + 1):
        spans = sorted((offset[row], lengths[row]) for row in np.flatnonzero(sequence == number))
        ends = np.cumsum([length for _, length in spans])
        assert [begin for begin, _ in spans] == [0, *ends[:-1]], "rows follow each other without a gap"
        assert ends[-1] <= width


@settings(deadline=None)
@given(lengths_lists, st.integers(40, 120))
def test_no_two_sequences_could_be_one(lengths: list[int], width: int) -> None:
    sequence, offset = best_fit_decreasing(np.asarray(lengths), width)
    filled = sorted(np.bincount(sequence, lengths).tolist())
    assert len(filled) == 1 or filled[0] + filled[1] > width
    assert bool((offset + lengths <= width).all())


@settings(deadline=None)
@given(token_rows(), st.integers(8, 300))
def test_a_packed_batch_holds_every_token_once(rows: TokenRows, max_width: int) -> None:
    batch = PackedBatch.pack(rows, max_width=max_width)
    assert len(batch.encoding_starts) == len(rows)
    flat = {
        name: getattr(batch, name).flatten().numpy()
        for name in ("input_ids", "token_type_ids", "position_ids")
    }
    row_of, task_of = batch.encoding_ids.flatten().numpy(), batch.token_task.flatten().numpy()
    assert (row_of != PADDING).sum() == rows.offsets[-1]
    for row, length in enumerate(rows.lengths):
        start = int(batch.encoding_starts[row])
        span = slice(start, start + length)
        assert start // batch.input_ids.shape[1] == (start + length - 1) // batch.input_ids.shape[1]
        assert (row_of[span] == row).all()
        assert (row_of == row).sum() == length
        tokens = slice(rows.offsets[row], rows.offsets[row + 1])
        np.testing.assert_array_equal(flat["input_ids"][span], rows.input_ids[tokens])
        np.testing.assert_array_equal(flat["token_type_ids"][span], rows.token_type_ids[tokens])
        np.testing.assert_array_equal(flat["position_ids"][span], np.arange(length))
        assert (task_of[span] == rows.task_ids[row]).all()
    assert (flat["input_ids"][row_of == PADDING] == 0).all()
    for row in batch.encoding_ids.tolist():
        assert PADDING not in row[: sum(value != PADDING for value in row)], "padding is at a sequence's end"


@settings(deadline=None)
@given(token_rows())
def test_rows_of_a_task_are_numbered_in_batch_order(rows: TokenRows) -> None:
    labels = rows.labels_by_task(["a", "b", "c"])
    for batch in (PackedBatch.pack(rows), PackedBatch.from_padded(**padded(rows))):
        assert sorted(batch.rows_by_task) == sorted(set(rows.task_ids.tolist()))
        for task, task_rows in batch.rows_by_task.items():
            assert task_rows.rows.tolist() == np.flatnonzero(rows.task_ids == task).tolist()
            assert labels["abc"[task]].tolist() == rows.labels[task_rows.rows.numpy()].tolist()


@settings(deadline=None)
@given(token_rows(), st.data())
def test_taking_rows_once_twice_or_not_at_all_keeps_each_intact(rows: TokenRows, data: st.DataObject) -> None:
    order = np.asarray(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12)), dtype=np.int64)
    taken = rows.take(order)
    assert len(taken) == len(order)
    for index, row in enumerate(order):
        expected = rows.input_ids[rows.offsets[row] : rows.offsets[row + 1]]
        np.testing.assert_array_equal(
            taken.input_ids[taken.offsets[index] : taken.offsets[index + 1]], expected
        )
    for name in ("row_ids", "task_ids", "labels"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(rows, name)[order])


@settings(deadline=None)
@given(token_rows(), st.data())
def test_cutting_and_concatenating_gives_the_same_rows(rows: TokenRows, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [rows.take(part) for part in np.split(np.arange(len(rows)), cuts)]  # some without rows
    assert_same_rows(TokenRows.concatenate(parts), rows)
    assert sum(len(part) for part in parts) == len(rows)


def test_a_batch_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="without rows"):
        PackedBatch.pack(make_rows([], []))


def test_moving_a_batch_moves_everything() -> None:
    batch = PackedBatch.pack(make_rows([3, 4, 2], [0, 1, 0])).to(torch.device("meta"))
    assert batch.input_ids.is_meta
    assert batch.encoding_starts.is_meta
    assert all(task_rows.rows.is_meta for task_rows in batch.rows_by_task.values())
