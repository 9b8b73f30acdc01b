"""Random ring elements from a seed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .... import kernels


class Stream:
    """The ring elements that one seed stands for. Whoever has the seed and draws the same sizes gets the same ones.

    Every draw is an AES counter stream of its own (kernels.prg_words), so nothing is drawn twice.
    """

    def __init__(self, seed: bytes):
        self._seed, self._draws = seed, 0

    def __call__(self, shape: Sequence[int]) -> Tensor:
        self._draws += 1
        return signed(kernels.prg_words(self._seed, self._draws, tuple(shape)))


def new_seed() -> bytes:
    return os.urandom(16)


def signed(array: np.ndarray) -> Tensor:
    """The same bits as a tensor of int64, in place."""
    return torch.from_numpy(array.view(np.int64))
