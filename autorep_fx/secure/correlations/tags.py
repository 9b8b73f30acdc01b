"""What checks the client's messages in a checked plan: tags, and how a step's shares hold them.

What the client has of a number is ``v``, 64 bits of which the low 32 are its value, and ``tag``; what the server has is
``local`` and, for a whole inference, ``key``: ``tag = key v + local`` modulo 2^64. So whatever is linear with
coefficients that both know may be done to v, to tag and to local alike, and it still holds.

In a :class:`~.prepared.Prepared` of a checked plan the arrays of a step have others beside them, named by
:func:`tag_of`: at the client their tags, at the server the local part of these. The blinding of an answered step has
one, too. The server's key stands with the input.
"""

from __future__ import annotations

import numpy as np

from ..plan.ring import U64
from .prepared import Shares

#: Names of what has a tag and is no share: the blinding of a wire, and t of a map.
BLINDING, T = "blinding", "t"

#: Name of the server's key.
KEY = "key of tags"

_TAG = "tag of "


def tag_of(name: str) -> str:
    return _TAG + name


def with_tags(values: Shares, tags: Shares) -> Shares:
    """Both, under names of their own."""
    return {**values, **{tag_of(name): tag for name, tag in tags.items()}}


def parted(shares: Shares) -> tuple[Shares, Shares]:
    """Values and tags, each by the names of the values."""
    values = {name: array for name, array in shares.items() if not name.startswith(_TAG)}
    return values, {name.removeprefix(_TAG): array for name, array in shares.items() if name.startswith(_TAG)}


def dot(weights: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Sums of numbers of 64 bits, (N, ...), weighted alike in each sample: (N,)."""
    return numbers.reshape(len(numbers), -1) @ weights.reshape(-1).view(U64)
