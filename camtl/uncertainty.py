"""MT-Uncertainty (paper §2.5, Algorithm 1): the model's uncertainty per row, and the selection of rows to train on.

Pure functions of tensors. Shapes: N candidate rows, C classes, T tasks, k rows to select.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

EPSILON = 1e-5  # the published code divides by log C + 1e-5


def normalized_entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of the predicted distribution over its largest value, log C (paper eq. 7).

    Args:
        logits: [..., C]. Entries of -inf are not counted in C. One column (regression) gives 0.

    Returns:
        [...], float32, in [0, 1].
    """
    if logits.shape[-1] == 1:
        return torch.zeros(logits.shape[:-1], device=logits.device)
    allowed = logits != float("-inf")  # NaN stays NaN: a diverged model must not look certain
    log_probabilities = torch.log_softmax(logits.float(), dim=-1).masked_fill(~allowed, 0.0)
    probabilities = log_probabilities.exp().masked_fill(~allowed, 0.0)
    entropy = -(probabilities * log_probabilities).sum(dim=-1)
    largest = torch.log(allowed.sum(dim=-1).float()) + EPSILON
    return (entropy / largest).clamp(0.0, 1.0)


def segment_mean(values: Tensor, segment_ids: Tensor, segments: int) -> Tensor:
    """Mean of `values` [N] over each segment (int64 [N]) -> [segments]; 0 for an empty segment."""
    zeros = torch.zeros(segments, device=values.device, dtype=values.dtype)
    counts = zeros.index_add(0, segment_ids, torch.ones_like(values))
    return zeros.index_add(0, segment_ids, values) / counts.clamp(min=1)


def select_most_uncertain(
    entropy: Tensor,
    task_ids: Tensor,
    k: int,
    *,
    copy_from: Mapping[int, int | None] | None = None,
    max_share_per_task: float | Tensor | None = None,
    surplus: str = "zero",
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: selects the k candidates of the highest U = H x (task mean of H) / (largest task mean).

    Args:
        entropy: normalised entropy H of each candidate, [N].
        task_ids: task of each candidate, int64, [N].
        k: rows to select; all candidates if there are fewer.
        copy_from: {task without an entropy (regression): source task of its scores}. The i-th row of the
            task gets the score of the source's i-th row. A source of None, or one without candidates, gives
            the mean score of the candidates that have an entropy.
        max_share_per_task: largest share of the k rows from one task (at least one row), exceeded only if
            the other tasks have no candidates left; or a share per task id, [T]. None is the paper's rule:
            no bound.
        surplus: score of copying rows when the source has fewer rows: `zero` as published, or `mean` of
            the source's scores.

    Returns:
        (indices [min(k, N)] by falling score, scores [N]). Ties are in the order of `torch.topk`.
        If no candidate has an entropy, the indices are in the candidates' order.

    Raises:
        ValueError: shapes differ, k is below 1, a share is outside (0, 1], or `surplus` is not known.
    """
    if entropy.shape != task_ids.shape or entropy.dim() != 1:
        raise ValueError(f"entropy {tuple(entropy.shape)} and task_ids {tuple(task_ids.shape)} must be [N]")
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    shares = None if max_share_per_task is None else torch.as_tensor(max_share_per_task, dtype=torch.float64)
    if shares is not None and not bool(((shares > 0) & (shares <= 1)).all()):
        raise ValueError(f"max_share_per_task={max_share_per_task} must be in (0, 1]")
    if surplus not in ("zero", "mean"):
        raise ValueError(f"surplus={surplus!r} is not known: use 'zero' or 'mean'")
    k = min(k, len(entropy))
    if len(entropy) == 0:
        return task_ids.new_zeros(0), entropy
    copies = dict(copy_from or {})
    num_tasks = max([int(task_ids.max()), *copies, *(s for s in copies.values() if s is not None)]) + 1
    task_means = segment_mean(entropy, task_ids, num_tasks)
    largest = task_means.max()
    scores = torch.where(largest > 0, entropy * (task_means / largest.clamp(min=1e-30))[task_ids], entropy)
    if copies:
        is_copy = torch.isin(task_ids, torch.tensor(list(copies), device=task_ids.device))
        if bool(is_copy.all()):
            return torch.arange(k, device=task_ids.device), torch.zeros_like(scores)
        scores = _copy_scores(scores, task_ids, num_tasks, copies, scores[~is_copy].mean(), surplus)
    if shares is None:
        return torch.topk(scores, k).indices, scores
    bounds = (shares * k).long().clamp(min=1).to(task_ids.device).expand(max(num_tasks, shares.numel()))
    by_score = torch.argsort(scores, descending=True, stable=True)
    task = task_ids[by_score]
    beyond_bound = (_index_in_task(task, num_tasks) >= bounds[task]).long()
    return by_score[torch.argsort(beyond_bound, stable=True)[:k]], scores


def _index_in_task(task_ids: Tensor, num_tasks: int) -> Tensor:
    """Number of earlier rows of the same task, [N]."""
    one_hot = torch.nn.functional.one_hot(task_ids, num_tasks)
    return one_hot.cumsum(0).gather(1, task_ids[:, None]).squeeze(1) - 1


def _copy_scores(
    scores: Tensor,
    task_ids: Tensor,
    num_tasks: int,
    copies: Mapping[int, int | None],
    pool_mean: Tensor,
    surplus: str,
) -> Tensor:
    index = _index_in_task(task_ids, num_tasks)
    result = scores
    for target, source in copies.items():
        source_scores = scores[task_ids == source] if source is not None else scores[:0]
        count = len(source_scores)
        if count:
            rest = source_scores.mean() if surplus == "mean" else torch.zeros_like(pool_mean)
            copied = torch.where(index < count, source_scores[index.clamp(max=count - 1)], rest)
        else:
            copied = pool_mean
        result = torch.where(task_ids == target, copied, result)
    return result
