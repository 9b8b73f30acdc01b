"""Numbers in Z_2^64, and where the kernels come from."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

import numpy as np

from .. import kernels

U64 = np.uint64

log = logging.getLogger(__name__)


@functools.cache
def kernel() -> ModuleType:
    """The compiled kernels, or their slow NumPy versions where the extension was not built."""
    if kernels.available():
        return kernels
    from ..kernels import reference

    log.warning("the compiled kernels are not built: the native runtime uses NumPy, which is hundreds of times slower")
    return reference


def encode(value: np.ndarray, frac_bits: int) -> np.ndarray:
    """Real numbers to ring elements: ``round(v * 2**frac_bits)``, any size of result modulo 2**64."""
    scaled = np.rint(np.ldexp(np.asarray(value, np.float64), frac_bits))
    if np.abs(scaled).max(initial=0) < 2.0**62:
        return scaled.astype(np.int64).view(U64)
    # A constant may leave the ring's range on its own: only the sum that it is part of must not.
    wrapped = np.fmod(scaled, 2.0**64)
    wrapped = np.where(wrapped < 0, wrapped + 2.0**64, wrapped)
    return np.where(wrapped >= 2.0**63, (wrapped - 2.0**63).astype(U64) + U64(1 << 63), wrapped.astype(U64))


def decode(ring: np.ndarray, frac_bits: int) -> np.ndarray:
    """Ring elements to float64."""
    return np.ldexp(ring.view(np.int64).astype(np.float64), -frac_bits)


def shift_left(ring: np.ndarray, bits: int) -> np.ndarray:
    return ring << U64(bits) if bits else ring
