"""Numbers in Z_2^64 and Z_2^32, and where the kernels come from."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

import numpy as np

from ... import kernels

U64 = np.uint64

#: Bits that an element may have. Arithmetic modulo 2^32 is the image of that modulo 2^64.
WIDTHS = (32, 64)

#: Products of numbers in a product of matrices for which a call of a kernel is not worth it.
_SMALL = 1 << 13

#: Powers of two up to this are numbers, and so are their products with such as there are.
_EXACT = 512

#: Elements that are made whole at once, in a memory that stays in cache.
_AT_ONCE = 1 << 14

log = logging.getLogger(__name__)


@functools.cache
def kernel() -> ModuleType:
    """The compiled kernels, or their slow NumPy versions where the extension was not built."""
    if kernels.available():
        return kernels
    from ...kernels import reference

    log.warning("the compiled kernels are not built: the native runtime uses NumPy, which is hundreds of times slower")
    return reference


def elements(width: int) -> np.dtype:
    """The type of ring elements of so many bits."""
    return np.dtype(f"u{width // 8}")


def narrowed(ring: np.ndarray, width: int) -> np.ndarray:
    """The same elements in a ring of ``width`` bits, which is as wide or narrower: their low bits."""
    return ring if 8 * ring.itemsize == width else ring.astype(elements(width))


def signed(ring: np.ndarray) -> np.ndarray:
    """Ring elements as the whole numbers, int64, that they stand for."""
    return ring.view(f"i{ring.itemsize}").astype(np.int64, copy=False)


def encode(value: np.ndarray, frac_bits: int, into: np.ndarray | None = None) -> np.ndarray:
    """Real numbers to ring elements: ``round(v * 2**frac_bits)``, any size of result modulo 2**64; uint64.

    into: float64 of the same shape, whose memory becomes the result's.
    """
    scaled = np.asarray(value, np.float64)
    # A product by a power of two is exact, and much quicker than ldexp.
    if abs(frac_bits) < _EXACT:
        scaled = np.multiply(scaled, 2.0**frac_bits, out=into)
    else:
        scaled = np.ldexp(scaled, frac_bits, out=into)
    scaled = np.rint(scaled, out=scaled) if scaled.ndim else np.rint(scaled)
    if max(scaled.max(initial=0), -scaled.min(initial=0)) < 2.0**62:
        return (_whole(np.ascontiguousarray(scaled)) if scaled.ndim else scaled.astype(np.int64)).view(U64)
    # A constant may leave the ring's range on its own: only the sum that it is part of must not.
    wrapped = np.fmod(scaled, 2.0**64)
    wrapped = np.where(wrapped < 0, wrapped + 2.0**64, wrapped)
    return np.where(wrapped >= 2.0**63, (wrapped - 2.0**63).astype(U64) + U64(1 << 63), wrapped.astype(U64))


def _whole(scaled: np.ndarray) -> np.ndarray:
    """Whole numbers as int64, in the memory of the float64 that they were: weights are large, and new memory slow."""
    flat, whole = scaled.reshape(-1), scaled.view(np.int64)
    out = whole.reshape(-1)
    for start in range(0, len(flat), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        out[part] = flat[part].astype(np.int64)
    return whole


def decode(ring: np.ndarray, frac_bits: int) -> np.ndarray:
    """Ring elements of either width to float64."""
    return np.ldexp(ring.view(f"i{ring.itemsize}").astype(np.float64), -frac_bits)


def matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x @ y`` of matrices of ring elements, (..., n, k) and (..., k, m), both of one width and with the same axes in
    front. NumPy multiplies whole numbers an element at a time, so it gets small ones alone, all at once.
    """
    *front, n, k = x.shape
    m = y.shape[-1]
    if n * k * m < _SMALL:
        return x @ y
    out = np.empty((*front, n, m), x.dtype)
    for at in np.ndindex(*front):
        kernel().linear(x[at], kernel().pack_weight(y[at].T), out=out[at])
    return out


def shift_left(ring: np.ndarray, bits: int) -> np.ndarray:
    return ring << ring.dtype.type(bits) if bits else ring
