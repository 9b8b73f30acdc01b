"""Numbers from a seed: a stream is named by (inference, step, slot), so any array can be made alone, in any order."""

from __future__ import annotations

import math

import numpy as np

from ..owner import Owner
from ..plan.ring import elements, kernel

#: Bits of a stream's name for each of its parts; together a purpose of the generator, 64 bits.
_INFERENCE, _STEP, _SLOT = 32, 24, 8


class Stream:
    """A seed, and which inference it is for. Inference 0 is what is made once per model.

    Raises:
        ValueError: a seed of another length, or an inference beyond 2**32: there would be no new masks.
    """

    def __init__(self, seed: bytes, inference: int):
        if len(seed) != 16 or not 0 <= inference < 2**_INFERENCE:
            raise ValueError("a stream needs a seed of 16 bytes and an inference below 2**32; set up a new session")
        self.seed, self.inference, self._owner = seed, inference, Owner("a stream of masks")

    def elements(self, step: int, slot: int, shape: tuple[int, ...], width: int) -> np.ndarray:
        """Uniform elements of a ring of ``width`` bits: those of 32 bits are the halves of words, low half first."""
        each = 64 // width
        words = self.words(step, slot, -(-math.prod(shape) // each))
        return words.view(elements(width))[: math.prod(shape)].reshape(shape)

    def words(self, step: int, slot: int, shape: int | tuple[int, ...]) -> np.ndarray:
        """Uniform words of 64 bits; the same for everyone who has the seed.

        Raises:
            ValueError: a step or slot that the name has no room for: it would be the name of another stream.
            PartyError: another process made the stream.
        """
        return kernel().prg_words(self.seed, self._name(step, slot), shape)

    def weigh(self, step: int, slot: int, values: np.ndarray) -> np.ndarray:
        """Sums of ``values``, (rows, n) of 64 bits, weighted by the first n words: (rows,), modulo 2^64."""
        return kernel().weigh(self.seed, self._name(step, slot), values)

    def tags(self, step: int, slot: int, values: np.ndarray, key: int) -> np.ndarray:
        """``key * values`` plus as many words, modulo 2^64."""
        return kernel().tag_words(values, key, self.seed, self._name(step, slot))

    def _name(self, step: int, slot: int) -> int:
        self._owner.check()
        if not (0 <= step < 2**_STEP and 0 <= slot < 2**_SLOT):
            raise ValueError(f"a stream has {_STEP} bits for a step and {_SLOT} for a slot, got {step} and {slot}")
        return (self.inference << _STEP | step) << _SLOT | slot
