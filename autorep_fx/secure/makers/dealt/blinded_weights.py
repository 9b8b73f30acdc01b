"""``E = W - A``, under which the weights hide: made once per model, it serves every inference.

``A`` comes from a seed that server and dealer share. With the same seed ``E`` is the same for every client, so it can
be made once per published model and kept; it is one pad on one message, whoever looks at it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ...correlations.stream import Stream
from ...plan import linear
from ...plan.plan import Plan, Step
from ...plan.ring import U64, elements, narrowed, signed
from ...plan.server_numbers import Numbers
from .seeds import WEIGHT_MASK


class BlindedWeights:
    """The server's. Sessions may share it.

    Args:
        seed: of ``A``, 16 bytes; drawn anew if it is not given.
    """

    def __init__(self, plan: Plan, numbers: Mapping[str, Numbers], seed: bytes | None = None):
        self.seed = os.urandom(16) if seed is None else seed
        self._plan, self._numbers = plan, numbers

    def __repr__(self) -> str:
        return f"BlindedWeights({len(_maps(self._plan))} layers)"

    def blinded(self) -> Iterator[np.ndarray]:
        """``E`` of one map after the other, made as it is asked for."""
        for (_, step), mask in zip(_maps(self._plan), _masks(self._plan, self.seed)):
            yield narrowed(self._numbers[step.name].of_map, step.width) - mask

    @cached_property
    def folded(self) -> dict[str, Any]:
        """``E`` for the check of what a client makes of it."""
        return pack_folded(self._plan, self.blinded())


def empty_blinded(plan: Plan) -> Iterator[np.ndarray]:
    """Arrays to receive what :meth:`BlindedWeights.blinded` makes."""
    return (np.empty(linear.weight_shape(step), elements(step.width)) for _, step in _maps(plan))


def pack_blinded(plan: Plan, blinded: Iterable[np.ndarray]) -> dict[str, Any]:
    """The client's weights, laid out as they come."""
    return {step.name: linear.pack(step, e, public=True) for (_, step), e in zip(_maps(plan), blinded)}


def pack_lifted(plan: Plan, blinded: Iterable[np.ndarray]) -> dict[str, Any]:
    """The client's weights of a checked plan: ``E`` as the whole numbers, signed, that it stands for, which is what it
    is to tags."""
    maps = _maps(plan.lifted)
    return {step.name: linear.pack(step, lifted(e), public=True, bits=32) for (_, step), e in zip(maps, blinded)}


def pack_folded(plan: Plan, blinded: Iterable[np.ndarray]) -> dict[str, Any]:
    """The same for the check of the maps."""
    maps = _maps(plan.lifted)
    return {step.name: linear.pack_folded(step, lifted(e), bits=32) for (_, step), e in zip(maps, blinded)}


def lifted(e: np.ndarray) -> np.ndarray:
    """Ring elements as whole numbers, in a ring of 64 bits."""
    return signed(e).view(U64)


def pack_masks(plan: Plan, seed: bytes) -> dict[str, Any]:
    """``A``, laid out for the dealer. seed: of ``A``."""
    return {step.name: linear.pack(step, mask) for (_, step), mask in zip(_maps(plan), _masks(plan, seed))}


def digest(blinded: Iterable[np.ndarray]) -> str:
    """Of all of ``E``: SHA-256, in hexadecimal."""
    found = hashlib.sha256()
    for array in blinded:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _maps(plan: Plan) -> list[tuple[int, Step]]:
    return [(index, step) for index, step in enumerate(plan.steps) if step.op == "map"]


def _masks(plan: Plan, seed: bytes) -> Iterator[np.ndarray]:
    stream = Stream(seed, 0)
    for index, step in _maps(plan):
        yield stream.elements(index, WEIGHT_MASK, linear.weight_shape(step), step.width)
