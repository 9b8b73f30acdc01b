"""How images lie in polynomials, so that a product of polynomials is a convolution.

A polynomial is a row of blocks of one image each, an image's rows one behind the other. Of ``samples`` samples, each
takes ``outputs * inputs`` blocks, in the first ``inputs`` of which lie as many channels. The weights from channel c to
output m stand ``m * inputs + inputs - 1 - c`` blocks further up, less the tap's offset: sample b's output m is then
block ``(b * outputs + m) * inputs + inputs - 1`` of the product. Whatever else a product of an image with weights that
are not its own gives falls into other blocks, below X^0 too, where it comes back from the top with its sign changed.
Source: Cheetah (Huang et al., USENIX Security 2022), figure 4, with one row and column of zeros shared by neighbours.

Groups of a grouped convolution lie side by side like channels, with weights 0 between them, where several fit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .....text import brief
from .axis import Axis
from .parameters import GUARD_BITS, RINGS

#: An axis is cut into so many tiles at most where a row of it fits a polynomial whole.
_FEW = 16


@dataclass(frozen=True)
class Packing:
    """Attributes:

    degree: of the polynomials.
    rows, columns: of the images.
    groups: that are computed side by side; of ``groups * together`` in all.
    together: groups of the map in one of these.
    channels, results: of a group (of ``groups``): inputs with all their phases, and outputs.
    samples, inputs, outputs: in a polynomial.
    """

    degree: int
    rows: Axis
    columns: Axis
    groups: int
    together: int
    channels: int
    results: int
    samples: int
    inputs: int
    outputs: int

    __repr__ = brief

    @property
    def block(self) -> int:
        return self.rows.pitch * self.columns.pitch

    @property
    def tiles(self) -> int:
        return self.rows.tiles * self.columns.tiles

    def sets(self, batch: int) -> int:
        """Polynomials that one channel of all tiles of all samples takes."""
        return -(-batch * self.tiles // self.samples)

    @property
    def input_sets(self) -> int:
        return -(-self.channels // self.inputs)

    @property
    def output_sets(self) -> int:
        return -(-self.results // self.outputs)

    def sent(self, batch: int) -> int:
        """Polynomials of the client's."""
        return self.sets(batch) * self.groups * self.input_sets

    def answered(self, batch: int) -> int:
        """Polynomials of the server's."""
        return self.sets(batch) * self.groups * self.output_sets

    def _blocks(self, polynomials: np.ndarray) -> np.ndarray:
        """Views as (..., samples, outputs, inputs, rows, columns)."""
        shape = (self.samples, self.outputs, self.inputs, self.rows.pitch, self.columns.pitch)
        return polynomials[..., : math.prod(shape)].reshape(*polynomials.shape[:-1], *shape)

    def data(self, polynomials: np.ndarray) -> np.ndarray:
        """Where images lie in (sets, groups, input sets, degree), as (..., samples, inputs, h, w)."""
        return self._blocks(polynomials)[..., 0, :, : self.rows.rows, : self.columns.rows]

    def pack(self, images: np.ndarray) -> np.ndarray:
        """Polynomials (sets, groups, input sets, degree) of images (samples, all groups, channels of one, h, w)."""
        count, all_groups, _, h, w = images.shape
        sets = -(-count // self.samples)
        padded = np.zeros((sets * self.samples, self.groups * self.together, self.channels // self.together, h, w),
                          images.dtype)  # fmt: skip
        padded[:count, :all_groups] = images
        channels = padded.reshape(sets * self.samples, self.groups, self.channels, h, w)
        spare = self.input_sets * self.inputs - self.channels
        if spare:
            channels = np.concatenate([channels, np.zeros_like(channels, shape=(*channels.shape[:2], spare, h, w))], 2)
        out = np.zeros((sets, self.groups, self.input_sets, self.degree), images.dtype)
        shape = (sets, self.samples, self.groups, self.input_sets, self.inputs, h, w)
        self.data(out)[...] = channels.reshape(shape).transpose(0, 2, 3, 1, 4, 5, 6)
        return out

    def unpack(self, polynomials: np.ndarray, count: int, all_groups: int) -> np.ndarray:
        """Outputs (count, all groups, outputs of one, h, w) in polynomials (sets, groups, output sets, degree)."""
        found = self._blocks(polynomials)[..., self.inputs - 1, : self.rows.height, : self.columns.height]
        sets, groups, output_sets, samples, outputs, h, w = found.shape
        found = found.transpose(0, 3, 1, 2, 4, 5, 6).reshape(sets * samples, groups, output_sets * outputs, h, w)
        one = self.results // self.together
        found = found[:count, :, : self.results].reshape(count, groups * self.together, one, h, w)
        return found[:, :all_groups]

    def positions(self) -> np.ndarray:
        """Of the weights of an output set and an input set, (outputs, inputs, taps): see the kernels' rlwe_weight."""
        m, c, y, x = np.ogrid[: self.outputs, : self.inputs, : len(self.rows.taps), : len(self.columns.taps)]
        down = np.array([offset - self.rows.first for _, offset in self.rows.taps])[y]
        right = np.array([offset - self.columns.first for _, offset in self.columns.taps])[x]
        up = (m * self.inputs + self.inputs - 1 - c) * self.block - (down * self.columns.pitch + right)
        return (up % (2 * self.degree)).astype(np.int32).reshape(self.outputs, self.inputs, -1)

    def values(self, weight: np.ndarray) -> np.ndarray:
        """Weights (all groups, outputs, channels, taps down, taps across) for those positions: (groups, output sets,
        input sets, terms)."""
        all_groups, results, channels, down, across = weight.shape
        phases = len(self.rows.phases) * len(self.columns.phases)
        by_phase = np.zeros((self.groups * self.together, results, channels, phases, down, across), weight.dtype)
        for y, (row, _) in enumerate(self.rows.taps):
            for x, (column, _) in enumerate(self.columns.taps):
                phase = row * len(self.columns.phases) + column
                by_phase[:all_groups, :, :, phase, y, x] = weight[..., y, x]
        own = by_phase.reshape(self.groups, self.together, results, channels * phases, down * across)
        full = np.zeros((self.groups, self.output_sets * self.outputs, self.input_sets * self.inputs, down * across),
                        weight.dtype)  # fmt: skip
        for i in range(self.together):
            rows = slice(i * results, (i + 1) * results)
            full[:, rows, i * channels * phases : (i + 1) * channels * phases] = own[:, i]
        shape = (self.groups, self.output_sets, self.outputs, self.input_sets, self.inputs, down * across)
        ordered = full.reshape(shape).transpose(0, 1, 3, 2, 4, 5)
        return np.ascontiguousarray(ordered).reshape(self.groups, self.output_sets, self.input_sets, -1)


@dataclass(frozen=True)
class Axes:
    """A convolution along one axis: rows of output, and the rest as in plan steps."""

    out: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    __repr__ = brief

    def tiled(self, height: int) -> Axis:
        return Axis.of(self.out, self.kernel, self.stride, self.padding, self.dilation, height)

    def cuts(self) -> list[Axis]:
        """Whole, and in some numbers of tiles."""
        heights = {-(-self.out // tiles) for tiles in range(1, min(self.out, _FEW) + 1)}
        return [self.tiled(height) for height in sorted(heights, reverse=True)]

    def largest(self, most: int) -> Axis:
        """In the fewest tiles whose pitch is at most so long.

        Raises:
            ValueError: not even one row of output is.
        """
        low, high = 1, self.out
        if self.tiled(high).pitch <= most:
            return self.tiled(high)
        if self.tiled(1).pitch > most:
            raise ValueError(f"a kernel of {self.kernel} with dilation {self.dilation} is too long for polynomials")
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.tiled(middle).pitch <= most else (low, middle - 1)
        return self.tiled(low)


@functools.lru_cache(maxsize=4096)
def choose(width: int, down: Axes, across: Axes, groups: int, channels: int, results: int, batch: int,
           low_words: int, transform_bits: int = 0) -> Packing:  # fmt: skip
    """The packing of a convolution that sends least, for ``batch`` samples; channels and results of a group.

    Args:
        transform_bits: how many bits one would rather send than transform a polynomial of weights. More samples in a
            polynomial are fewer polynomials, but more of weights, each of which is then of use to fewer.

    Raises:
        ValueError: no tile of it fits a polynomial.
    """
    degree = RINGS[width].degree
    up, back = width + 32 * low_words, width + GUARD_BITS
    best, least = None, math.inf
    for rows, columns in _cuts(down, across, degree):
        fits, tiles = degree // (rows.pitch * columns.pitch), rows.tiles * columns.tiles
        phases = len(rows.phases) * len(columns.phases)
        for together, inputs, outputs in _shares(fits, groups, channels * phases, results):
            # What Packing says, without one for each of thousands.
            side_by_side, samples = -(-groups // together), fits // (inputs * outputs)
            input_sets, output_sets = -(-channels * phases * together // inputs), -(-results * together // outputs)
            sets = -(-batch * tiles // samples)
            bits = sets * degree * (up * input_sets + back * output_sets) + transform_bits * input_sets * output_sets
            if bits * side_by_side < least:
                best, least = (rows, columns, together, samples, inputs, outputs), bits * side_by_side
    assert best is not None, "every axis has a tile that fits"
    rows, columns, together, samples, inputs, outputs = best
    phases = len(rows.phases) * len(columns.phases)
    return Packing(degree, rows, columns, -(-groups // together), together, channels * phases * together,
                   results * together, samples, inputs, outputs)  # fmt: skip


def _cuts(down: Axes, across: Axes, degree: int) -> Iterator[tuple[Axis, Axis]]:
    """Pairs of cuts whose tiles fit; columns stay whole where a row of them fits."""
    columns = across.largest(degree)
    least = down.tiled(1).pitch * columns.pitch
    if least > degree:
        columns = across.largest(degree // down.tiled(1).pitch)
    most = down.largest(degree // columns.pitch)
    for rows in {most.height: most, **{cut.height: cut for cut in down.cuts()}}.values():
        if rows.pitch * columns.pitch <= degree:
            yield rows, columns


def _shares(fits: int, groups: int, channels: int, results: int) -> Iterator[tuple[int, int, int]]:
    """Groups together, and inputs and outputs of a polynomial, for polynomials of so many blocks."""
    for together in range(2, groups + 1):
        if together**2 * channels * results > fits:
            break
        yield together, together * channels, together * results
    for inputs in _parts(min(channels, fits), channels):
        for outputs in _parts(min(results, fits // inputs), results):
            yield 1, inputs, outputs


def _parts(most: int, whole: int) -> list[int]:
    """The sizes up to ``most`` of which a smaller one would not cut ``whole`` into as few."""
    sizes = {-(-whole // parts) for parts in range(-(-whole // most), math.isqrt(whole) + 2)}
    sizes |= {size for size in range(1, math.isqrt(whole) + 2) if -(-whole // -(-whole // size)) == size}
    return sorted(size for size in sizes if size <= most)
