"""The sizes of encrypted linear maps, what they rest on, and how far a result can be off.

Security. Everything that is sent rests on ring learning with errors, with a ternary secret and the centred binomial
distribution of 21 coins (standard deviation 3.24) as its error: the client's messages with its secret, the server's
answers with a secret that is new for each. 128 bits then allow a modulus q of at most

    degree    log2 q    HomomorphicEncryption.org, 2018, table 1    ePrint 2024/463, table 5.2
    4096      81.0      109                                         106
    8192      135.0     218                                         214

(classical attacks). A party that can solve either learns what the other has; nothing else of the maps is computational
but AES as a generator, and SHA-256 where it makes keys of public polynomials.

Correctness. An output of a map is a coefficient of ``c0 W + pk0 u + (c1 W + pk1 u + e'') s``, which is ``q W B / t +
n`` modulo q, t = 2^width. In ``n``, in units of q / t, of which one is the last bit of a share, are

    |W| (21 + 2 digits) t / q       the client's error and the rounding of digits, at most; |W| is the sum
                                    of the sizes of all weights that one polynomial packs
    |W| 2^-(32 low_words + 1)       what the client cuts off c0, at most. That is uniform and independent of W: beyond 8
                                    standard deviations, ||W|| 2^-(32 low_words) / sqrt(12) each, with probability 2^-45
    2 * 21 degree t / q             the public key's error and e'', at most: 2^-31.6 for 32 bits, 2^-52.6 for 64

and what the server cuts off c1: 2^-9 times a sum of `degree` coefficients of s, with signs and sizes that are uniform
and independent of s. With two thirds of s not 0 its standard deviation is 0.059 (0.083 for 64 bits), and above 1/2 it
is with probability 2^-50 (2^-25). A share is rounded by its owner: with n below 1/2 the sum of both is off by one at
most, and off at all with a probability of the mean of |n|, 0.047 (0.067): as many last bits, of 2^width, are wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .....kernels.rlwe import rlwe_primes
from .....text import brief
from ....plan.plan import Step

#: log2 of the largest modulus for 128 bits and ternary secrets, by degree: the smaller of both tables above.
MOST_BITS = {4096: 106, 8192: 214}

#: Bits of an answer's coefficients beside those of a ring element.
GUARD_BITS = 8

#: Weights whose exponent is larger have c0 with two words below the ring's bits.
_LARGE = 22

#: How far an output may be off before it is rounded, in units of its last bit.
MOST_ERROR = 0.5


@dataclass(frozen=True)
class Ring:
    """Polynomials modulo X^degree + 1 and modulo q, for shares of ``width`` bits."""

    width: int
    degree: int
    primes: tuple[int, ...]

    __repr__ = brief

    @property
    def modulus(self) -> int:
        return math.prod(self.primes)

    def error(self, sizes: float, norm: float, low_words: int) -> float:
        """What a result is off by at most, in its last bit, before the answer is cut, for weights whose sizes add up to
        ``sizes`` and whose squares to ``norm`` squared."""
        digits, unit, cut = self.width // 32 + low_words, 2.0**self.width / self.modulus, 2.0 ** -(32 * low_words)
        cut *= min(sizes / 2, 8 * norm / math.sqrt(12))
        return sizes * (21 + 2 * digits) * unit + cut + 42 * self.degree * unit


RINGS = {width: Ring(width, *rlwe_primes(width)) for width in (32, 64)}


def low_words(step: Step) -> int:
    """Words of c0 below the ring's bits: by the exponent of the weights, which is public, so that both sides know."""
    return 1 if step.attrs["weight_bits"] <= _LARGE else 2


def check_weights(step: Step, values: np.ndarray) -> None:
    """Whether results are right for these weights, (groups, output sets, input sets, terms).

    Raises:
        ValueError: they would be off by more than the last bit.
    """
    sizes = values.astype(np.float64)
    norm = math.sqrt(np.einsum("goit,goit->go", sizes, sizes).max(initial=0))
    total = np.abs(sizes, out=sizes).sum((2, 3)).max(initial=0)
    error = RINGS[step.width].error(total, norm, low_words(step))
    if error > MOST_ERROR:
        raise ValueError(
            f"{step.name}: weights of up to {sizes.max():.3g} units are too large for an encrypted map: results would "
            f"be off by {error:.2g} units; make them smaller, or their exponent ({step.attrs['weight_bits']}) larger "
            f"than {_LARGE}"
        )
