"""What every reference uses."""

from __future__ import annotations

import numpy as np

U64 = np.uint64


def unsigned(a):
    """The same bits as unsigned numbers of their width."""
    return a.view(f"u{a.itemsize}")


def truncated(m, shift, ring):
    """Of masked values: the public part of the truncated value, and mu, in the ring of the result."""
    m, bits = unsigned(m), 8 * m.itemsize
    lifted = m + m.dtype.type(1 << (bits - 2))
    top = lifted >> m.dtype.type(bits - 1)
    mx = (lifted >> m.dtype.type(shift)).astype(ring) - ring.type((1 << (bits - 2 - shift)) % 2 ** (8 * ring.itemsize))
    return mx, ring.type(1) - top.astype(ring)


def truncated_mask(r, shift):
    """alpha and beta of a mask, in 64 bits: what is shared of them is theirs modulo its ring."""
    bits, r = 8 * r.itemsize, unsigned(r).astype(U64)
    return r >> U64(shift), (r >> U64(bits - 1)) << U64(bits - shift)  # NumPy shifts 64 bits out


def full(a, ring):
    """A share as it is stored, in its ring: whole, or by its high half."""
    a = unsigned(a)
    return a.astype(ring) << ring.type(8 * (ring.itemsize - a.itemsize))


def store_(array, value, ring):
    """One party's share, as it is stored, becomes the other's of ``value``."""
    array = unsigned(array)
    if array.itemsize < ring.itemsize:
        value = value >> U64(8 * (ring.itemsize - array.itemsize))
    array[...] = value.astype(array.dtype) - array


def deliver(result, out):
    """The result, written into `out` where one was given."""
    if out is None:
        return result
    out[...] = result.view(out.dtype)
    return out
