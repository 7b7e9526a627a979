"""From hidden states to `TokenScores` without ever holding vocabulary x batch x length logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memaudit.errors import ModelError
from memaudit.models.decoding import decoded_targets
from memaudit.records import Decoding, FloatArray, TokenIds, TokenScores

Head = Callable[[Tensor], Tensor]
"""Hidden states [n, d] -> logits [n, vocabulary]."""

HEAD_ROWS = 256
"""Positions whose logits exist at one time: enough for the matrix product to run at full speed."""
CACHE_ELEMENTS = 1 << 18
"""Logits that are reduced together: 1 MiB in fp32, so that every pass but the first reads from cache."""


@torch.no_grad()
def score_hidden(
    hidden: Tensor, head: Head, targets: Tensor, decoding: Decoding, scores: TokenScores, rows: slice
) -> None:
    """Fill ``rows`` of ``scores`` from hidden states and the true next tokens.

    Args:
        hidden: Shape [n, d]: what the model knows at the n positions that predict ``targets``.
        head: Maps hidden states [m, d] to logits [m, vocabulary].
        targets: Shape [n]: ids of the true tokens.
        decoding: The decoding whose ``log_prob`` is asked for; rank, mean and std are the model's own.
        scores: Filled in place.
        rows: The n rows of ``scores`` that belong to ``targets``.

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    first = rows.start
    pieces = zip(torch.split(hidden, HEAD_ROWS), torch.split(targets, HEAD_ROWS), strict=True)
    for hidden_rows, target_rows in pieces:
        # A call of its own: the logits are gone before the head makes the next ones.
        _score_logits(head(hidden_rows), target_rows, decoding, scores, first)
        first += len(target_rows)


def step_log_probs(logits: Tensor, decoding: Decoding) -> FloatArray:
    """Return what `continue_prompts` chooses from: log-probabilities [rows, vocabulary] in float64.

    Greedy decoding gets the bare logits: the first maximum is the same and needs no normalisation.

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    check_finite(logits)
    values = logits.float() if decoding.greedy else torch.log_softmax(logits.double(), dim=-1)
    log_probs: FloatArray = values.cpu().numpy()
    return log_probs


def best_tokens(hidden: Tensor, head: Head) -> tuple[TokenIds, FloatArray]:
    """Return the most probable token at every position and its natural log-probability, shapes [n] and [n].

    Of equally probable tokens the smallest id is taken.

    Args:
        hidden: Shape [n, d].
        head: Maps hidden states [m, d] to logits [m, vocabulary].

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    tokens: list[TokenIds] = []
    log_probs: list[FloatArray] = []
    for rows in torch.split(hidden, HEAD_ROWS):
        logits = head(rows)
        check_finite(logits)
        peak, best = logits.float().max(dim=1)
        tokens.append(best.cpu().numpy().astype(np.int32))
        log_probs.append((peak - torch.logsumexp(logits.float(), dim=1)).double().cpu().numpy())
    return np.concatenate(tokens), np.concatenate(log_probs)


def greedy_tokens(hidden: Tensor, head: Head) -> NDArray[np.int64]:
    """Return the most probable token after each hidden state [n, d], shape [n]; ties go to the smaller id.

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    return np.concatenate([_first_maximum(head(states)) for states in torch.split(hidden, HEAD_ROWS)])


def _first_maximum(logits: Tensor) -> NDArray[np.int64]:
    # One sum tells whether all are finite; only if it is not are they looked at one by one.
    if not bool(torch.isfinite(logits.sum())):
        check_finite(logits)
    values = logits if logits.dtype == torch.float64 else logits.float()
    best: NDArray[np.int64] = values.cpu().numpy().argmax(axis=-1)
    return best


def check_finite(logits: Tensor) -> None:
    """Raise ModelError if any logit is NaN or infinite, and say which."""
    bad = logits[~torch.isfinite(logits)]
    if len(bad):
        raise ModelError(
            f"the model gave {len(bad)} non-finite logits, first: {bad[0].item()}",
            "its weights or its numeric type are broken; try --dtype float32",
        )


def _score_logits(logits: Tensor, targets: Tensor, decoding: Decoding, scores: TokenScores, first: int) -> None:
    """Fill the rows of ``scores`` from ``first`` on, from logits [n, vocabulary] and true ids [n]."""
    size = max(1, CACHE_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else HEAD_ROWS
    for block, true in zip(torch.split(logits, size), torch.split(targets, size), strict=True):
        block = block if block.dtype == torch.float64 else block.float()
        part = slice(first, first + len(block))
        _reduce(block, true[:, None], scores, part)
        if not decoding.unchanged:
            scores.log_prob[part] = _decoded(block, true, decoding)
        first = part.stop


def _reduce(logits: Tensor, true: Tensor, scores: TokenScores, rows: slice) -> None:
    """Fill log_prob, rank, mean and std from logits [n, vocabulary] and true ids [n, 1]."""
    target = logits.gather(1, true)
    peak = logits.amax(dim=1, keepdim=True)
    # Comparisons written as floats add up four times as fast as booleans; exact up to 2^24 tokens.
    scratch = torch.empty_like(logits)
    rank = torch.gt(logits, target, out=scratch).sum(dim=1).long()
    tied = torch.eq(logits, target, out=scratch).sum(dim=1) > 1
    for row in torch.nonzero(tied).flatten().tolist():
        rank[row] += (logits[row, : int(true[row])] == target[row]).sum()
    # Moments about the peak: E[y] and E[y^2] of y = logit - peak, whose terms are at most exp(-1) large.
    below = logits - peak
    weight = torch.exp(below, out=scratch)
    total = weight.sum(dim=1).double()
    weight.mul_(below)
    mean = weight.sum(dim=1).double() / total
    square = weight.mul_(below).sum(dim=1).double() / total
    if not bool(torch.isfinite(square).all()):
        check_finite(logits)
    log_total = total.log()
    scores.log_prob[rows] = ((target.double() - peak.double()).flatten() - log_total).cpu().numpy()
    scores.rank[rows] = rank.cpu().numpy()
    scores.mean[rows] = (mean - log_total).cpu().numpy()
    scores.std[rows] = (square - mean * mean).clamp_(min=0).sqrt().cpu().numpy()


def _decoded(logits: Tensor, true: Tensor, decoding: Decoding) -> FloatArray:
    log_probs = torch.log_softmax(logits.double(), dim=1).cpu().numpy()
    return decoded_targets(log_probs, true.cpu().numpy(), decoding)
