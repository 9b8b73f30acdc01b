"""Samples that are far out: one broken image among hundreds of good ones decides a range, and so a fit."""

from __future__ import annotations

import torch
from torch import Tensor

#: The largest |x| of a sample, in units of the median over the samples. Sixty thousand draws of a normal variable, one
#: a sample, stay below 7; of images, whose samples have many values each, the maxima lie within a factor of 3.
_TIMES = 8.0


def largest(x: Tensor) -> Tensor:
    """Largest |x| of each sample of a batch (N, ...), (N,) in the dtype of ``x``."""
    return x.detach().abs().flatten(1).amax(1)


def limit(maxima: Tensor) -> float:
    """What the largest |x| of a sample may be beside the others', given those of all, (N,).

    Eight times their median, samples that are zero throughout left aside; with fewer than three of the others there is
    nothing to compare with and the limit is infinite.
    """
    seen = maxima[maxima > 0].double()
    return _TIMES * float(seen.quantile(0.5)) if len(seen) > 2 else torch.inf


def outlying(x: Tensor) -> Tensor:
    """Which samples of a batch (N, ...) are out, boolean (N,)."""
    maxima = largest(x)
    return maxima > limit(maxima)
