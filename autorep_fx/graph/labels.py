"""What makes labels unusable, in words."""

from __future__ import annotations

import torch
from torch import Tensor

from .nested import in_words

#: How what is no class number is trained on.
OTHERS = "for other targets say loss=, 'mse_loss' or a function of outputs and targets, or train in a loop of your own"

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def described(value) -> str:
    """A value of the wrong kind, for a message."""
    kind = f"{value.dtype} tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    return f"a {kind}"


def fault_of_labels(labels, samples: int) -> str | None:
    """Why ``labels`` are not a class number for each of ``samples`` inputs; None if they are."""
    if not isinstance(labels, Tensor) or labels.dtype not in _INTEGERS:
        return f"must have an integer tensor of labels, got {described(labels)}; {OTHERS}"
    if labels.shape != (samples,):
        return (
            f"must have labels of shape ({samples},), one class number for each input, got {described(labels)}; "
            f"use labels.argmax(1) for one-hot labels, labels.flatten() for a column; {OTHERS}"
        )
    return None


def fault_of_classes(labels: Tensor, output) -> str | None:
    """Why the integer ``labels`` (N,) are no classes of what the model returned; None if they are."""
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(labels):
        return (
            f"makes the model return {in_words(output)}; logits ({len(labels)}, classes) are needed, alone, or loss=, "
            "a function of outputs and targets"
        )
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= output.shape[1]:
        return (
            f"has labels from {low} to {high}, and the model has {output.shape[1]} classes: "
            f"0 to {output.shape[1] - 1} is allowed"
        )
    return None
