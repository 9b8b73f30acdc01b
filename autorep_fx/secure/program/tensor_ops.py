"""Operations that are the same on numbers, on shares and on error bounds: moving, summing, indexing."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .program import Step

#: Linear operations with coefficients 0 and 1 that every executor applies to whatever tensors it computes on.
MOVES: dict[str, Callable[..., Tensor]] = {
    "reshape": lambda step, x: x.reshape(len(x), *step.shape),
    "permute": lambda step, x: x.permute(step.attrs["dims"]),
    "pad": lambda step, x: F.pad(x, step.attrs["pads"]),
    "index": lambda step, x: x[step.attrs["index"]],
    "select": lambda step, x: x.index_select(step.attrs["dim"], torch.tensor(step.attrs["places"], device=x.device)),
    "windows": lambda step, x: torch.stack(_windows(step, x), 1),
    "keep": lambda step, x: keep(step.attrs["positions"], x),
    "cat": lambda step, *parts: torch.cat(parts, step.attrs["dim"]),
}


def keep(positions: np.ndarray, x: Tensor) -> Tensor:
    """Zero everywhere else."""
    flat, out = x.flatten(1), torch.zeros_like(x).flatten(1)
    out[:, positions] = flat[:, positions]
    return out.view_as(x)


def channels(values: Tensor, dim: int) -> Tensor:
    """(C,) shaped to broadcast over axis 1 of a tensor with ``dim`` axes."""
    return values.reshape(-1, *(1,) * (dim - 2))


def by_position(step: Step, values: Tensor, part: str) -> Tensor:
    """Per-channel numbers (..., C) of a site, one for each position of ``part``, an attribute of the step."""
    return values[..., step.attrs[part] // step.attrs["per_channel"]]


def sum_pool2d(step: Step, x: Tensor) -> Tensor:
    a = step.attrs
    shape = x.shape
    pooled = F.avg_pool2d(x.reshape(-1, 1, *shape[-2:]), a["kernel"], a["stride"], a["padding"], divisor_override=1)
    return pooled.reshape(*shape[:-2], *pooled.shape[-2:])


def sum_over(step: Step, x: Tensor) -> Tensor:
    return x.sum(step.attrs["dims"], keepdim=step.attrs["keepdim"])


def summed(step: Step, x: Tensor) -> int:
    """How many elements each mean is over."""
    return prod(x.shape[d] for d in step.attrs["dims"])


def windows(step: Step, x: Tensor, fill: float | int) -> Tensor:
    """The elements of every pooling window: (window size, N, ..., OH, OW); outside of ``x`` is ``fill``."""
    ph, pw = step.attrs["padding"]
    return torch.stack(_windows(step, F.pad(x, (pw, pw, ph, ph), value=fill)))


def _windows(step: Step, x: Tensor) -> list[Tensor]:
    """For each place in a window the elements that all windows have there."""
    (kh, kw), (sh, sw), (dh, dw) = (step.attrs[key] for key in ("kernel", "stride", "dilation"))
    oh, ow = step.shape[-2:]
    return [
        x[..., i * dh : i * dh + sh * (oh - 1) + 1 : sh, j * dw : j * dw + sw * (ow - 1) + 1 : sw]
        for i in range(kh) for j in range(kw)
    ]  # fmt: skip
