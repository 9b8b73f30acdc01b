"""Products of a matrix of the server's, uniform in the ring, with one that the client encrypts; several at once.

A map's weights are short, and these are not: they would take the whole of the noise's room. So a number s of the
server's becomes signed digits, ``s = sum_l 2^(b l) s_l``, of b bits each, and the client encrypts ``2^(b l) B`` for
each of them: ``s B = sum_l s_l (2^(b l) B)`` is a product of short weights with more rows, whose answer is no longer.
Rings of 32 bits take one digit as they are, with two words below c0 (parameters.py).

How many digits follows from shapes alone: as few as send least, of those with which no numbers whatever are off by more
than the last bit. Source: Gilboa products by encryption as in Cheetah (USENIX Security 2022), digits as of gadget
decomposition.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ....plan.plan import Step
from ....plan.ring import U64, elements, narrowed
from . import client, messages, server
from .field import field
from .keys import ClientKey, PublicKey
from .parameters import MOST_ERROR, RINGS, low_words

#: Digits of a number, at most.
_DIGITS = 4


@functools.lru_cache(maxsize=4096)
def product(groups: int, results: int, rows: int, columns: int, width: int) -> Step:
    """Products (groups, results, rows) (groups, rows, columns), as a map: a convolution of images of one row of pixels.

    Raises:
        ValueError: so many rows have no room for what they add up to.
    """
    fit = [step for digits in range(1, _DIGITS + 1)
           if _worst(step := _map(groups, results, rows, columns, width, digits)) < MOST_ERROR]  # fmt: skip
    if not fit:
        raise ValueError(f"a product of matrices over {rows} elements is too large for encrypted maps")
    return min(fit, key=lambda step: sum(messages.sizes(step, 1)))


def encrypt(step: Step, key: ClientKey, matrices: np.ndarray) -> list[np.ndarray]:
    """The client's message for its matrices, (groups, rows, columns) of ring elements that may be wider."""
    b, groups = step.attrs["weight_bits"], step.attrs["groups"]
    own = narrowed(matrices, step.width)
    count = step.attrs["weight_shape"][1] // own.shape[1]
    shifted = np.stack([own << own.dtype.type(b * i) for i in range(count)], 1)
    return client.encrypt(step, key, shifted.reshape(1, groups * count * own.shape[1], 1, own.shape[2]))


def respond(
    step: Step, matrices: np.ndarray, public: PublicKey, message: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The server's share (groups, results, columns) for its matrices (groups, results, rows), and its answer.

    Raises:
        PartyError: the message has another length.
    """
    groups, results, _ = matrices.shape
    weight = server.Weight(step, _digits(step, matrices), 0)
    share, answer = server.respond(step, weight, public, [message], 1)
    return share.reshape(groups, results, -1), answer


def decrypt(step: Step, key: ClientKey, answer: np.ndarray) -> np.ndarray:
    """The client's share (groups, results, columns); both add up to the products, but for a unit.

    Raises:
        PartyError: the answer has another length.
    """
    groups, (_, _, columns) = step.attrs["groups"], step.shape
    nothing = np.empty((1, 0), elements(step.width))  # no part of such a map is public
    return client.decrypt(step, key, [answer], nothing).reshape(groups, -1, columns)


def _map(groups: int, results: int, rows: int, columns: int, width: int, digits: int) -> Step:
    attrs = {"kind": "conv2d", "weight_shape": (groups * results, rows * digits, 1, 1), "groups": groups,
             "weight_bits": -(-width // digits), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}  # fmt: skip
    return Step("a product of matrices", "map", (), (groups * results, 1, columns), 0, width, attrs)


def _worst(step: Step) -> float:
    """What a result is off by at most, whatever the numbers are; see :meth:`~.parameters.Ring.error`."""
    packing = field(step, 1).packing
    terms, largest = packing.outputs * packing.inputs * packing.input_sets, 2.0 ** (step.attrs["weight_bits"] - 1)
    return RINGS[step.width].error(terms * largest, math.sqrt(terms) * largest, low_words(step))


def _digits(step: Step, matrices: np.ndarray) -> np.ndarray:
    """Of numbers (groups, results, rows) their signed digits, the lowest first, as a weight of the map."""
    b, (outputs, inputs, *_) = step.attrs["weight_bits"], step.attrs["weight_shape"]
    left = narrowed(matrices, step.width).astype(U64)
    found = []
    for _ in range(inputs // matrices.shape[2]):
        digit = _signed(left, b)
        found.append(digit)
        left = (left - digit.view(U64)) >> U64(b)
    return np.stack(found, 2).reshape(outputs, inputs, 1, 1).view(U64)


def _signed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """The low bits of each, as a signed number: int64."""
    above = np.int64(64 - bits)
    return (numbers << U64(64 - bits)).view(np.int64) >> above
