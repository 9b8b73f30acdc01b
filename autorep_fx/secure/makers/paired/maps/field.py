"""What a map does to ring elements, as a convolution of images: what is packed, and what becomes of the results.

A linear layer is a convolution of images of one pixel. A factor by channel is a convolution of as many groups of one
channel with a kernel of one tap, and a factor by position that of the positions that are replaced; at all others the
factor is public, and the client multiplies by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .....text import brief
from ....plan.plan import Step
from ....plan.ring import elements, narrowed
from .packing import Axes, Packing, choose
from .parameters import low_words


@dataclass(frozen=True)
class Field:
    """A map of a batch of samples.

    Attributes:
        step: the map.
        batch: samples.
        repeats: rows of a sample that a linear layer multiplies one by one; else 1.
        groups, channels, results: of the convolution; channels and results of a group.
        packing: how its images lie.
        places: of a factor by position, which position each place of the images holds, (groups, places), -1 for none.
    """

    step: Step
    batch: int
    repeats: int
    groups: int
    channels: int
    results: int
    packing: Packing
    places: np.ndarray | None

    __repr__ = brief

    @property
    def count(self) -> int:
        """Samples of the convolution, tiles not counted."""
        return self.batch * self.repeats

    def images(self, x: np.ndarray) -> np.ndarray:
        """What is packed, (count * tiles, groups, channels with their phases, h, w), of inputs (batch, *shape)."""
        x = narrowed(x, self.step.width)
        if self.places is not None:
            flat = np.concatenate([x.reshape(self.batch, -1), np.zeros((self.batch, 1), x.dtype)], 1)
            x = flat[:, self.places][:, :, None, None]
        elif self.step.attrs["kind"] == "channel":
            x = x.reshape(self.batch, self.groups, 1, 1, -1)
        elif self.step.attrs["kind"] == "linear":
            x = x.reshape(self.count, 1, self.channels, 1, 1)
        else:
            x = x.reshape(self.batch, self.groups, self.channels, *x.shape[2:])
        axes = (self.packing.rows, self.packing.columns)
        if all(axis.plain(size) for axis, size in zip(axes, x.shape[-2:])):
            return x
        rows, columns = (axis.index(size) for axis, size in zip(axes, x.shape[-2:]))
        padded = np.zeros((*x.shape[:-2], x.shape[-2] + 1, x.shape[-1] + 1), x.dtype)
        padded[..., :-1, :-1] = x
        found = padded[..., rows[:, None, :, None, :, None], columns[None, :, None, :, None, :]]
        found = found.transpose(0, 3, 4, 1, 2, 5, 6, 7, 8)  # count, tiles, groups, channels, phases, h, w
        channels = self.packing.channels // self.packing.together
        return found.reshape(self.count * self.packing.tiles, self.groups, channels, *found.shape[-2:])

    def result(self, polynomials: np.ndarray) -> np.ndarray:
        """(batch, *step.shape) of polynomials of results, (sets, groups, output sets, degree)."""
        p = self.packing
        found = p.unpack(polynomials, self.count * p.tiles, self.groups)
        found = found.reshape(self.count, p.rows.tiles, p.columns.tiles, *found.shape[1:])
        found = found.transpose(0, 3, 4, 1, 5, 2, 6)  # count, groups, results, tiles, h, tiles, w
        found = found.reshape(*found.shape[:3], p.rows.tiles * p.rows.height, p.columns.tiles * p.columns.height)
        found = found[..., : p.rows.out, : p.columns.out]
        if self.places is None:
            return np.ascontiguousarray(found).reshape(self.batch, *self.step.shape)
        out = np.zeros((self.batch, self.step.size), found.dtype)
        held = self.places >= 0
        out[:, self.places[held]] = found.reshape(self.batch, *self.places.shape)[:, held]
        return out.reshape(self.batch, *self.step.shape)

    def weight(self, weight: np.ndarray) -> np.ndarray:
        """The convolution's weight, signed, (groups, results, channels, down, across), of one of ``weight_shape``."""
        kind, width = self.step.attrs["kind"], self.step.width
        signed = narrowed(weight, width).view(f"i{width // 8}")
        if kind == "conv2d":
            return signed.reshape(self.groups, self.results, *signed.shape[1:])
        if kind == "linear":
            return signed.reshape(1, *signed.shape, 1, 1)
        if self.places is not None:
            signed = signed[self.places[:, 0] // self.step.attrs["per_channel"]]
        return signed.reshape(-1, 1, 1, 1, 1)

    def public(self, x: np.ndarray) -> np.ndarray | None:
        """What the client adds by itself of an input (batch, *shape): where the factor is public."""
        if self.step.attrs["kind"] != "position":
            return None
        ring = elements(self.step.width)
        factor = np.full(self.step.size, 1 << self.step.attrs["weight_bits"] & (1 << self.step.width) - 1, ring)
        factor[self.step.attrs["replaced"]] = 0
        return narrowed(x, self.step.width) * factor.reshape(self.step.shape)


def field(step: Step, batch: int, transform_bits: int = 0) -> Field:
    """How a map of so many samples is computed; ``transform_bits`` as of :func:`~.packing.choose`.

    Raises:
        ValueError: a kernel that is larger than a polynomial.
    """
    a, places = step.attrs, None
    down = across = Axes(1)
    groups, channels, results, repeats = 1, 1, 1, 1
    if a["kind"] == "conv2d":
        results, channels, *kernel = a["weight_shape"]
        groups, results = a["groups"], results // a["groups"]
        down, across = (Axes(*given) for given in zip(step.shape[1:], kernel, a["stride"], a["padding"], a["dilation"]))
    elif a["kind"] == "linear":
        results, channels = a["weight_shape"]
        repeats = math.prod(step.shape[:-1])
    elif a["kind"] == "channel":
        groups, across = step.shape[0], Axes(math.prod(step.shape[1:]))
    else:
        places = _places(a["replaced"], a["per_channel"])
        groups, across = len(places), Axes(places.shape[1])
    try:
        packing = choose(step.width, down, across, groups, channels, results, batch * repeats, low_words(step),
                         transform_bits)  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{step.name}: {error}") from error
    return Field(step, batch, repeats, groups, channels, results, packing, places)


def _places(replaced: np.ndarray, per_channel: int) -> np.ndarray:
    """The replaced positions of each channel that has any, one row each."""
    _, first, counts = np.unique(replaced // per_channel, return_index=True, return_counts=True)
    places = np.full((len(counts), int(counts.max(initial=1))), -1, np.int64)
    for row, start, count in zip(places, first, counts):
        row[:count] = replaced[start : start + count]
    return places
