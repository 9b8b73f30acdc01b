"""Streaming float64 statistics of the inputs of a site."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class StreamingHistogram:
    """One histogram a channel, whose range grows with the data.

    Every channel has ``bins`` equal bins. Data outside the range double the bin width, merging bins in pairs, until
    they fit: counts stay exact, and the width stays below twice what a histogram made afterwards would need (at least
    half of the bins span the data).

    Attributes:
        counts: (C, bins) float64.
        low, width: (C,) float64; bin ``i`` of a channel covers ``[low + i * width, low + (i + 1) * width)``.
    """

    def __init__(self, channels: int, bins: int = 256):
        if bins < 2 or bins % 2:
            raise ValueError(f"bins must be even and at least 2, got {bins}")
        self.bins = bins
        self.counts = torch.zeros(channels, bins, dtype=torch.float64)
        self.low = torch.zeros(channels, dtype=torch.float64)
        self.width = torch.zeros(channels, dtype=torch.float64)

    def update(self, values: Tensor) -> None:
        """Add ``values`` (C, n).

        Raises:
            ValueError: a value is not finite.
        """
        values = values.detach().to("cpu", torch.float64)
        low, high = values.amin(1), values.amax(1)
        if not (torch.isfinite(low) & torch.isfinite(high)).all():
            raise ValueError("values must be finite")  # no range would ever hold them
        fresh = self.width == 0
        if fresh.any():
            # The smallest width keeps a constant channel from having no bins at all.
            width = (high - low).clamp_min(low.abs().clamp_min(1e-30) * 1e-9) / (self.bins - 1)
            self.low = torch.where(fresh, low, self.low)
            self.width = torch.where(fresh, width, self.width)
        while (short := high >= self.low + self.bins * self.width).any():
            self._double(short, from_low=True)
        while (short := low < self.low).any():
            self._double(short, from_low=False)
        index = ((values - self.low[:, None]) / self.width[:, None]).long().clamp_(0, self.bins - 1)
        index += torch.arange(len(values))[:, None] * self.bins
        self.counts += torch.bincount(index.flatten(), minlength=self.counts.numel()).view_as(self.counts)

    def centers(self) -> Tensor:
        """Middle of every bin, (C, bins)."""
        return self.low[:, None] + (torch.arange(self.bins) + 0.5) * self.width[:, None]

    def _double(self, rows: Tensor, from_low: bool) -> None:
        half = self.bins // 2
        merged = self.counts[rows].view(-1, half, 2).sum(2)
        self.counts[rows] = 0
        self.counts[rows, :half] = merged
        if not from_low:
            self.counts[rows] = self.counts[rows].roll(half, 1)
            self.low[rows] -= self.bins * self.width[rows]
        self.width[rows] *= 2


class Moments:
    """Sums that decide every least-squares polynomial of up to ``degree``, at every position of a site.

    With ``z = (x - shift) / scale`` (one shift and scale a channel) and ``a = act(x)``, they are the sums over samples
    of ``z**k`` (k <= 2 * degree), ``a * z**k`` (k <= degree) and ``a**2``. Sums over any set of positions are sums of
    these, so a fit over just the replaced positions of any mask is exact and needs no second walk.

    Memory: (3 * degree + 3) float64 for each position of one sample (4.3 MB for 64x32x32 at degree 2).
    """

    def __init__(self, shape: tuple[int, ...], degree: int):
        self.shape, self.degree, self.samples = shape, degree, 0
        self.shift = torch.zeros(shape[0], dtype=torch.float64)  # of the first batch, as the scale is
        self.scale = torch.ones(shape[0], dtype=torch.float64)
        self.powers = torch.zeros(2 * degree + 1, *shape, dtype=torch.float64)
        self.cross = torch.zeros(degree + 1, *shape, dtype=torch.float64)
        self.square = torch.zeros(shape, dtype=torch.float64)

    def update(self, x: Tensor, a: Tensor) -> None:
        """Add inputs ``x`` (N, *shape) and their activations ``a``."""
        x, a = x.detach().to("cpu", torch.float64), a.detach().to("cpu", torch.float64)
        if self.samples == 0:
            rows = x.transpose(0, 1).flatten(1)
            std = rows.std(1, correction=0)
            self.shift, self.scale = rows.mean(1), torch.where(std > 0, std, torch.ones_like(std))
        per_channel = (-1,) + (1,) * (x.dim() - 2)
        z = (x - self.shift.view(per_channel)) / self.scale.view(per_channel)
        power = torch.ones_like(z)
        for k in range(2 * self.degree + 1):
            self.powers[k] += power.sum(0)
            if k <= self.degree:
                self.cross[k] += (a * power).sum(0)
            power *= z
        self.square += (a * a).sum(0)
        self.samples += len(x)

    def over(self, where: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums per channel over the positions of ``where`` (boolean of ``shape``; None: all).

        Returns:
            count (C,), powers (C, 2 * degree + 1), cross (C, degree + 1), square (C,).
        """

        def total(sums: Tensor) -> Tensor:
            sums = sums if where is None else sums * where.cpu()
            return sums.flatten(sums.dim() - len(self.shape) + 1).sum(-1) if len(self.shape) > 1 else sums

        return total(self.powers[0]), total(self.powers).T, total(self.cross).T, total(self.square)


class SiteStatistics:
    """What arrived at one site: histogram, moments and range of the input, and samples seen.

    Attributes:
        clip_rate: the part of all inputs that was above 6, where a ReLU6 clips.
    """

    def __init__(self, shape: tuple[int, ...], degree: int, bins: int = 256):
        self.shape = shape
        self.histogram = StreamingHistogram(shape[0], bins)
        self.moments = Moments(shape, degree)
        self.low = torch.full((shape[0],), torch.inf, dtype=torch.float64)
        self.high = -self.low
        self._above_six = 0

    @property
    def clip_rate(self) -> float:
        return self._above_six / max(self.samples * math.prod(self.shape), 1)

    @property
    def samples(self) -> int:
        return self.moments.samples

    @property
    def largest(self) -> Tensor:
        """Largest |x| of each channel, (C,) float64, never zero."""
        return torch.maximum(self.low.abs(), self.high.abs()).clamp_min(1e-9)

    def update(self, x: Tensor, a: Tensor) -> None:
        rows = x.detach().transpose(0, 1).flatten(1)
        self.histogram.update(rows)
        self.moments.update(x, a)
        self._above_six += int((rows > 6).sum())
        self.low = torch.minimum(self.low, rows.amin(1).cpu().double())
        self.high = torch.maximum(self.high, rows.amax(1).cpu().double())
