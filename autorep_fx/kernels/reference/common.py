"""What every reference uses."""

from __future__ import annotations

import numpy as np

from ..masked import U64, unsigned


def store_(array, value, ring):
    """One party's share, as it is stored, becomes the other's of ``value``."""
    array = unsigned(array)
    if array.itemsize < ring.itemsize:
        value = value >> U64(8 * (ring.itemsize - array.itemsize))
    array[...] = value.astype(array.dtype) - array


def need_apart(written, read, same=None):
    """Arrays by name, or None: as need_apart in csrc/bindings/arrays.h, with the same words."""
    held = [[(name, _bytes(a)) for name, a in (arrays or {}).items()] for arrays in (written, read, same)]
    for i, (name, (start, stop)) in enumerate(held[0]):
        for other, (begin, end) in held[0][i + 1 :] + held[1]:
            if start < end and begin < stop:
                raise ValueError(f"{name}: must not overlap {other}")
        for other, (begin, end) in held[2]:
            if start < end and begin < stop and (start, stop) != (begin, end):
                raise ValueError(f"{name}: may be {other}, but not overlap it in part")


def _bytes(a):
    """Where an array lies; nowhere if it is None, empty, or one that a kernel copies."""
    a = np.asarray(np.empty(0) if a is None else a)
    if not a.size or not a.flags.c_contiguous or not a.flags.aligned:
        return 1, 0
    return a.ctypes.data, a.ctypes.data + a.nbytes


def deliver(result, out):
    """The result, written into `out` where one was given."""
    if out is None:
        return result
    out[...] = result.view(out.dtype)
    return out
