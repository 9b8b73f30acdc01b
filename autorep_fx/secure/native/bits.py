"""Bit planes: bit i of 64 elements in one word."""

from __future__ import annotations

import numpy as np

from .ring import U64


def words(n: int) -> int:
    return -(-n // 64)


def to_planes(values: np.ndarray, bits: int) -> np.ndarray:
    """uint64 (n,) to (bits, words(n)); missing elements are zero."""
    padded = np.zeros(64 * words(len(values)), U64)
    padded[: len(values)] = values
    planes = np.empty((bits, words(len(values))), U64)
    for i in range(bits):
        bit = ((padded >> U64(i)) & U64(1)).astype(np.uint8)
        planes[i] = np.packbits(bit, bitorder="little").view(U64)
    return planes


def from_plane(plane: np.ndarray, n: int) -> np.ndarray:
    """One plane to n zeros and ones, uint64."""
    return np.unpackbits(plane.view(np.uint8), count=n, bitorder="little").astype(U64)
