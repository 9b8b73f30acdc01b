"""What the two messages of a map look like, in words.

client to server    seed of c1; c0 / q of each polynomial: ring elements, then the words below them
server to client    c1 / q of each answer: ring elements, then a byte below each
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .....errors import PartyError
from ....plan.plan import Step
from ....plan.ring import U64, elements
from .field import Field, field
from .keys import SEED_WORDS
from .parameters import RINGS, low_words


def sizes(step: Step, batch: int, transform_bits: int = 0) -> tuple[int, int]:
    """Words of the client's message and of the server's; ``transform_bits`` as of :func:`~.packing.choose`."""
    of = field(step, batch, transform_bits)
    degree = RINGS[step.width].degree
    sent, answered = (count(batch * of.repeats) * degree for count in (of.packing.sent, of.packing.answered))
    return SEED_WORDS + _words(sent, step.width + 32 * low_words(step)), _words(answered, step.width + 8)


def products(step: Step, batch: int, transform_bits: int = 0) -> int:
    """Polynomials that the server multiplies by each other: what a map takes it, more or less."""
    of = field(step, batch, transform_bits)
    p = of.packing
    return p.sets(batch * of.repeats) * p.groups * p.input_sets * p.output_sets


def _words(count: int, bits: int) -> int:
    return count * bits // 64


def join(*parts: np.ndarray) -> list[np.ndarray]:
    return [np.concatenate([np.ascontiguousarray(part).reshape(-1).view(U64) for part in parts])]


def whole(step: Step, arrays: Sequence[np.ndarray], words: int, receiver: str, sender: str) -> np.ndarray:
    """The one array of a message.

    Raises:
        PartyError: it has another length.
    """
    got = [array.size for array in arrays]
    if got != [words]:
        raise PartyError(f"{receiver}: {sender}'s message for {step.name} has {got} words, expected [{words}]")
    return np.ascontiguousarray(arrays[0], U64).reshape(-1)


def sent(of: Field, words: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seed, ring elements (sets, groups, input sets, degree) and the words below, in what a client sent."""
    p, low = of.packing, low_words(of.step)
    shape = (p.sets(of.count), p.groups, p.input_sets)
    high = words.size - SEED_WORDS - p.sent(of.count) * p.degree * low // 2
    seed, rest = words[:SEED_WORDS], words[SEED_WORDS:]
    return (seed, rest[:high].view(elements(of.step.width)).reshape(*shape, p.degree),
            rest[high:].view(np.uint32).reshape(*shape, low, p.degree))  # fmt: skip


def answered(of: Field, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ring elements (polynomials, degree) and bytes below them, in what a server answered."""
    p, width = of.packing, of.step.width
    high = p.answered(of.count) * p.degree * width // 64
    return (words[:high].view(elements(width)).reshape(-1, p.degree), words[high:].view(np.uint8).reshape(-1, p.degree))
