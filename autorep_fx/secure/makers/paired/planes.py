"""Planes of bits, end to end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...plan.ring import U64
from .transfers import WORD


def joined_planes(parts: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Planes (..., words) of all bits, of parts (..., words) of which each has so many in its first words.

    What the last part has beyond them stays, as far as there are words.
    """
    total = sum(counts)
    out = np.zeros((*parts[0].shape[:-1], -(-total // WORD) + 1), U64)
    at = 0
    for i, (part, n) in enumerate(zip(parts, counts)):
        if n % WORD and i < len(parts) - 1:
            part = part.copy()
            part[..., -1] &= U64((1 << n % WORD) - 1)
        word, bit = divmod(at, WORD)
        own = out[..., word : word + part.shape[-1]]
        own |= part << U64(bit)
        if bit:
            above = out[..., word + 1 : word + 1 + part.shape[-1]]
            above |= (part >> U64(WORD - bit))[..., : above.shape[-1]]
        at += n
    return np.ascontiguousarray(out[..., :-1])
