"""Keys of encrypted maps: the client's secret, and what the server gets of it once a session."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from .....errors import PartyError
from ....plan.ring import U64, WIDTHS, kernel
from .parameters import RINGS

#: Words of a seed.
SEED_WORDS = 2


def fresh() -> np.ndarray:
    """A seed that is used once and that nobody else has, as words."""
    return np.frombuffer(os.urandom(8 * SEED_WORDS), U64)


def generator(purpose: str, seed: np.ndarray) -> bytes:
    """The key that public polynomials of a seed are made with: hashed, for the other side has chosen the seed."""
    return hashlib.sha256(f"autorep_fx paired {purpose} ".encode() + seed.tobytes()).digest()[:16]


class ClientKey:
    """The client's secret of a session, for rings of these widths; what it encrypts is safe while nobody else has it.

    Attributes:
        secret: by width, values at the roots, (primes, degree).
        public: what the server gets, an array of words for each width; see :class:`PublicKey`.
    """

    def __init__(self, widths: Iterable[int] = WIDTHS):
        self.secret: dict[int, np.ndarray] = {}
        self.public: list[np.ndarray] = []
        for width in sorted(widths):
            small = kernel().rlwe_ternary(fresh().tobytes(), 0, 1, width=width)
            self.secret[width] = secret = kernel().rlwe_forward(small, width=width)[0]
            seed = fresh()
            first = kernel().rlwe_public(secret, _second(seed, width), fresh().tobytes(), width=width)
            self.public.append(np.concatenate([seed, np.ascontiguousarray(first).reshape(-1).view(U64)]))

    def __repr__(self) -> str:
        return f"ClientKey({', '.join(f'{width} bits' for width in self.secret)})"


def public_words(widths: Iterable[int] = WIDTHS) -> list[int]:
    """Words of each array of a public key."""
    return [SEED_WORDS + len(RINGS[w].primes) * RINGS[w].degree // 2 for w in sorted(widths)]


class PublicKey:
    """A client's public key, ``noise - secret pk1`` and pk1, of which the second is made from a seed.

    Attributes:
        values: by width, values at the roots, (2, primes, degree).
    """

    def __init__(self, values: dict[int, np.ndarray]):
        self.values = values

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], widths: Iterable[int] = WIDTHS) -> PublicKey:
        """The key that a client sent.

        Raises:
            PartyError: another length, or a number that is not below its prime.
        """
        widths = sorted(widths)
        expected = public_words(widths)
        got = [array.size for array in arrays]
        if got != expected:
            raise PartyError(f"server: the client's public key has {got} words, expected {expected}")
        values = {}
        for width, array in zip(widths, arrays):
            ring = RINGS[width]
            array = np.ascontiguousarray(array, U64).reshape(-1)
            first = array[SEED_WORDS:].view(np.uint32).reshape(len(ring.primes), ring.degree)
            if (first >= np.array(ring.primes, np.uint32)[:, None]).any():
                raise PartyError(f"server: the client's public key for {width} bits has a number beyond its prime")
            values[width] = np.stack([first, _second(array[:SEED_WORDS], width)])
        return cls(values)

    def __repr__(self) -> str:
        return f"PublicKey({', '.join(f'{width} bits' for width in self.values)})"


def _second(seed: np.ndarray, width: int) -> np.ndarray:
    return kernel().rlwe_uniform(generator(f"public key {width}", seed), 0, 1, width=width)[0]
