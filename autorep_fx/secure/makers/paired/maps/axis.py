"""Rows, or columns, of a convolution's images as they lie in a polynomial.

A convolution with stride s is one without over s phases of the input: row ``s i + f`` is row i of phase f, and tap k,
which meets row ``s y + k dilation - padding`` of the input for row y of the output, meets row ``y + offset`` of one
phase. Images that fit are whole: rows beside the image are zeros behind it, which it shares with its neighbour. Larger
ones are cut into tiles of rows of the output, each with all rows of the input that it meets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .....text import brief


@dataclass(frozen=True)
class Axis:
    """Attributes:

    size, out: rows of the input, and of the output.
    stride: of the phases.
    phases: those that taps meet.
    taps: of each tap its phase, an index of ``phases``, and its offset.
    tiles: how many; each has ``height`` rows of the output, the last may have less.
    rows: of the input of a tile, in a phase.
    first: the row of the phase that is the first of a tile, less the tile's first row of the output.
    pitch: from an image to the next.
    """

    size: int
    out: int
    stride: int
    phases: tuple[int, ...]
    taps: tuple[tuple[int, int], ...]
    tiles: int
    height: int
    rows: int
    first: int
    pitch: int

    __repr__ = brief

    @classmethod
    def of(cls, out: int, kernel: int, stride: int, padding: int, dilation: int, height: int) -> Axis:
        """The axis of a convolution with so many rows of output, in tiles of ``height`` of them.

        The input may have more rows than any tap meets, and is taken to have all that one may meet.
        """
        size = (out - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding + min(stride - 1, padding)
        met = [k * dilation - padding for k in range(kernel)]
        phases = tuple(sorted({m % stride for m in met}))
        taps = tuple((phases.index(m % stride), m // stride) for m in met)
        low, high = min(o for _, o in taps), max(o for _, o in taps)
        tiles = -(-out // height)
        if tiles > 1:
            rows = height + high - low
            return cls(size, out, stride, phases, taps, tiles, height, rows, low, rows)
        most = max(-(-(size - f) // stride) for f in phases)
        rows = max(1, min(most, out + high))
        beside = max(0, -low, out - 1 + high - (rows - 1))
        return cls(size, out, stride, phases, taps, 1, out, rows, 0, max(rows + beside, out))

    def plain(self, size: int) -> bool:
        """Whether a tile is an input of ``size`` rows as it is."""
        return self.tiles == 1 and self.phases == (0,) and self.stride == 1 and self.rows == size

    def index(self, size: int) -> np.ndarray:
        """Which row of an input of ``size`` rows each row of a tile is, (tiles, phases, rows); ``size`` for no row."""
        tile, phase, row = np.ogrid[: self.tiles, : len(self.phases), : self.rows]
        found = (tile * self.height + self.first + row) * self.stride + np.array(self.phases)[phase]
        return np.where((found >= 0) & (found < min(size, self.size)), found, size)
