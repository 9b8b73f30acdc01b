"""The largest absolute values of a program's values, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...text import brief
from ..plan.input_range import SLACK, InputRange

#: Largest absolute value of each channel (axis 1 of a batch), (C,) float64, by name of a program's value.
Reach = dict[str, np.ndarray]


@dataclass(frozen=True)
class Extremes:
    """What inputs reach that are made for it.

    Attributes:
        rings: on any wire, where the ring's margin comes on top.
        windows: what is compared, all margins included.
    """

    rings: Reach
    windows: Reach

    __repr__ = brief


def start(within: InputRange, shape: tuple[int, ...]) -> Tensor:
    """Largest |x| of every element of a sample that is let in, (1, *shape)."""
    largest = torch.from_numpy(within.largest * (1 + SLACK))
    return largest.reshape(1, -1, *(1,) * (len(shape) - 1)).expand(1, *shape) if shape else largest.reshape(1)


def by_channel(value: Tensor) -> np.ndarray:
    """Largest |v| over samples and positions of a batch (N, C, ...), (C,)."""
    if value.dim() < 2:
        return value.abs().amax().reshape(1).numpy()
    return by_sample(value).max(0, initial=0.0)


def by_sample(value: Tensor) -> np.ndarray:
    """Largest |v| of each channel of each sample (N, C, ...), (N, C) float64; (N, 1) of one number a sample."""
    rows = value.reshape(len(value), value.shape[1] if value.dim() > 1 else 1, -1)
    if not rows.numel():
        return np.zeros(rows.shape[:2])
    return torch.maximum(rows.amax(2), -rows.amin(2)).double().numpy()
