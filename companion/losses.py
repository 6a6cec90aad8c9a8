"""Last layers and losses: what the output of a network means, and how far it is from the truth. Book: Part 1.

``LAST_LAYERS`` is Table 2 of the review (Yamashita et al., 2018) with the loss and the target that belong to each
activation function. Losses take logits, the numbers that leave the last fully connected layer: sigmoid and softmax
are computed inside them in one step with the logarithm, which stays finite where exp alone overflows.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid(logits: Tensor) -> Tensor:
    """Each logit z to a probability of its own, 1 / (1 + exp(-z)); any shape, values in [0, 1]."""
    return torch.sigmoid(logits)


def softmax(logits: Tensor) -> Tensor:
    """Logits (N, K) to probabilities (N, K) that share one: exp(z_k) / sum over the classes of exp(z).

    Raises:
        ValueError: for less than two classes: softmax over a single node is 1, whatever the logit.
    """
    _require_classes(logits)
    return torch.softmax(logits, dim=1)


def identity(outputs: Tensor) -> Tensor:
    """The outputs as they are, for values without bounds."""
    return outputs


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over images and labels of -t log p - (1 - t) log(1 - p), where p is the sigmoid of the logit.

    Args:
        logits: (N, K); one node for a binary task, one for each label of a multi-label task.
        target: (N, K), floating-point, 1 where the label applies and 0 where not; values between are allowed.

    Raises:
        ValueError: where the shapes differ or a target lies outside 0 to 1.
    """
    _require_same_shape(logits, target)
    if target.numel() and not 0 <= target.min() <= target.max() <= 1:
        raise ValueError(f"the targets run from {target.min():g} to {target.max():g}, but must lie between 0 and 1")
    return F.binary_cross_entropy_with_logits(logits, target)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images of -log p, where p is the softmax probability of the true class.

    Args:
        logits: (N, K), one node for each class.
        labels: number of the true class (N,), int64 in 0 to K - 1.

    Raises:
        ValueError: for less than two classes, or labels of another shape or out of range.
    """
    _require_classes(logits)
    n, k = logits.shape
    if labels.shape != (n,) or labels.is_floating_point():
        raise ValueError(f"the labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be class numbers, "
                         f"int64 of shape ({n},)")
    if n and not 0 <= labels.min() <= labels.max() < k:
        raise ValueError(f"the labels run from {labels.min()} to {labels.max()}, but the network has {k} output nodes: "
                         f"give labels in 0 to {k - 1}, or one node for each class")
    return F.cross_entropy(logits, labels)


def mean_squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean over images and quantities of the squared difference, in squared units of the target.

    Args:
        outputs, target: (N, K), K quantities of each image.

    Raises:
        ValueError: where the shapes differ; torch would broadcast (N,) against (N, 1) to N x N differences.
    """
    _require_same_shape(outputs, target)
    return F.mse_loss(outputs, target)


class LastLayer(NamedTuple):
    """A row of Table 2: the activation function (logits to outputs), the loss (logits, target) and what each needs."""

    activation: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    nodes: str
    target: str


LAST_LAYERS = {
    "binary classification": LastLayer(
        sigmoid, binary_cross_entropy, "1", "0 or 1"),
    "multiclass single-label classification": LastLayer(
        softmax, cross_entropy, "one per class", "number of the class"),
    "multiclass multi-label classification": LastLayer(
        sigmoid, binary_cross_entropy, "one per label", "0 or 1 for each label"),
    "regression to continuous values": LastLayer(
        identity, mean_squared_error, "one per quantity", "the value, in its unit"),
}
"""Table 2 of the review, the last layer for each kind of task. Targets have the shape that the loss says."""


def _require_classes(logits: Tensor) -> None:
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(f"the logits have shape {tuple(logits.shape)}, but softmax needs (N, K) with K of at least 2: "
                         "over a single node it is always 1; use a sigmoid there")


def _require_same_shape(outputs: Tensor, target: Tensor) -> None:
    if outputs.shape != target.shape:
        raise ValueError(f"the outputs have shape {tuple(outputs.shape)} and the targets {tuple(target.shape)}, but "
                         "must have the same: turn one number per image into a column with [:, None]")
