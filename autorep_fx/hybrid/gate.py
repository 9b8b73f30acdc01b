"""Learnable masks: what stands at a site during a search."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .positions import check_granularity


class _StraightThrough(torch.autograd.Function):
    """The indicator forward; backward as if it had the slope softplus(theta)."""

    @staticmethod
    def forward(ctx, theta: Tensor, keep: Tensor) -> Tensor:
        ctx.save_for_backward(theta)
        return keep.to(theta.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (theta,) = ctx.saved_tensors
        return grad * F.softplus(theta), None


class Gate(nn.Module):
    """One real parameter ``theta`` a unit: (C, H, W) for elements, (C, 1, 1) for channels, (1, 1, 1) for a layer."""

    def __init__(self, theta: Tensor, shape: tuple[int, ...], granularity: str = "element"):
        super().__init__()
        check_granularity(granularity)
        if granularity == "channel":
            theta = theta.flatten(1).mean(1).view(-1, *(1,) * (len(shape) - 1)) if len(shape) > 1 else theta
        elif granularity == "layer":
            theta = theta.mean().view((1,) * len(shape))
        self.theta = nn.Parameter(theta.clone())
        self.shape = shape
        self.unit = prod(shape) // theta.numel()

    def expanded(self) -> Tensor:
        """``theta`` at every position of the site."""
        return self.theta.detach().expand(self.shape)


class HysteresisGate(Gate):
    """AutoReP's indicator: the sign of ``theta`` with a hysteresis band.

    A kept position turns off when ``theta < level - band``, a replaced one on when ``theta > level + band``. The
    gradient passes straight through to ``theta``, weighted by ``softplus(theta)``.

    Source: Peng et al., AutoReP (ICCV 2023), section 3.2 (there ``level`` is 0 and ``band`` 0.003); a moving ``level``
    is ours: it lets the count follow a schedule.
    """

    def __init__(self, theta: Tensor, shape: tuple[int, ...], granularity: str = "element", band: float = 0.003):
        super().__init__(theta, shape, granularity)
        self.band = band

    def forward(self, keep: Tensor) -> Tensor:
        if self.unit == 1:
            return _StraightThrough.apply(self.theta, keep)
        return _StraightThrough.apply(self.theta.expand(self.shape), keep)

    def decide(self, keep: Tensor, level: float = 0.0, band: float | None = None) -> Tensor:
        """The new mask, given the present one; ``band`` in place of the gate's own."""
        theta, band = self.expanded(), self.band if band is None else band
        return torch.where(keep, theta >= level - band, theta > level + band)


class LinearGate(Gate):
    """SNL's gate: ``theta`` itself, clipped to [0, 1], blends activation and identity.

    Source: Cho et al., "Selective Network Linearization for Efficient Private Inference" (ICML 2022), section 3.
    """

    def forward(self, keep: Tensor) -> Tensor:
        return self.theta.clamp(0, 1).expand(self.shape)
