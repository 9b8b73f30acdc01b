"""What every reference uses."""

from __future__ import annotations

from ..masked import U64, unsigned


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
