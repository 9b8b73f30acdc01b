"""What two make of numbers that each has a half of, by transfers: the bits of a difference, a bit times a number,
products.

Every function is the same at both parties, but where one of them is named; shares are additive in a ring, or by XOR
where they are planes. Source: docs/protocol.md, "Without a dealer"; the borrow is majority with one AND a bit (Boyar,
Peralta, Pochuev, TCS 2000), a bit times a number is Gilboa (CRYPTO 1999) in both directions.
"""

from __future__ import annotations

import numpy as np

from ...plan.ring import elements
from .transfers import WORD, Pair, spread
from .turns import Protocol, Turn, Words


def choose(planes: list[np.ndarray], pairs: list[Pair]) -> Protocol[None]:
    """Make these planes the choices of what this party receives; what it sends follows the other's."""
    flips = [pair.received.choose(plane) for pair, plane in zip(pairs, planes)]
    theirs = yield Turn(flips, [len(plane) for plane in flips])
    for pair, plane in zip(pairs, theirs):
        pair.sent.flip(plane)


def bits_of(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Bits that were hashed when the transfers were made: of both strings, (2, count, n / 64), and of the one that came
    (count, n / 64).

    Raises:
        ValueError: none were.
    """
    if pair.sent.planes is None or pair.received.planes is None:
        raise ValueError("these transfers were made without bits")
    return pair.sent.planes, pair.received.planes


def difference(planes: np.ndarray, chain: Pair, *, subtracts: bool) -> Protocol[tuple[np.ndarray, np.ndarray]]:
    """Shares of the bits of ``a - b`` and of the borrow out of the top bit, for the server's a and the client's b.

    Args:
        planes: (L, words), the bits of this party's number, the lowest first.
        chain: L n transfers each way, whose choices are these bits, with a bit of each string.
        subtracts: whether this party's number is b.

    One AND a bit: with the borrow ``w``, the next one is ``w xor (a xor b) (b xor w)``, of which each party knows the
    halves ``a`` or ``b`` and ``x``, its share of ``b xor w``.
    """
    (ones, others), got = bits_of(chain)
    ones, others, got = (plane.reshape(planes.shape) for plane in (ones, others, got))
    borrow, bits = np.zeros_like(planes[0]), np.empty_like(planes)
    for i, own in enumerate(planes):
        bits[i] = own ^ borrow
        x = bits[i] if subtracts else borrow
        (message,) = yield Turn([ones[i] ^ others[i] ^ x], [len(x)])
        borrow = borrow ^ (own & (x ^ message)) ^ ones[i] ^ got[i]
    return bits, borrow


def times(
    bit: np.ndarray, values: list[tuple[np.ndarray, int]], pair: Pair, *, use: int, one: int = 0, party: int
) -> Protocol[list[np.ndarray]]:
    """Shares of ``b v`` modulo 2**bits for each (v, bits), behind those of b itself modulo 2**one where one > 0.

    Args:
        bit: a plane, this party's half of b by XOR; the choices of n transfers each way.
        values: this party's halves of the numbers (n,).
        use: of b itself; the numbers take those that follow.
    """
    own, n = spread(bit), pair.n
    products, mine, theirs = [], [], []
    if one:
        ring = strings_of(one)
        if party == 0:  # b = b_S + (1 - 2 b_S) b_C
            share, message = pair.sent.strings(ring(1) - ring(2) * own.astype(ring), one, use)
            products.append(own.astype(ring) + share)
            mine.append(message)
        else:
            products.append(np.zeros(n, ring))
            theirs.append((one, use))
    for i, (value, bits) in enumerate(values, 1):
        v: np.ndarray = value.astype(strings_of(bits))
        b = own.astype(v.dtype)
        share, message = pair.sent.strings((v ^ -b) + b, bits, use + i)  # v or -v; NumPy's `where` branches
        products.append(b * v + share)
        mine.append(message)
        theirs.append((bits, use + i))
    came = yield Turn(mine, [n * bits // WORD for bits, _ in theirs])
    for product, message, (bits, at) in zip(products[len(products) - len(came) :], came, theirs):
        product += pair.received.strings(message, bits, at)
    return products


def cross(
    value: np.ndarray, bits: int, rows: list[Pair], *, use: int, sends: bool = True, receives: bool = True
) -> Protocol[np.ndarray]:
    """A share of what the choices of one side, as a number, are times the value of the other; both ways, added.

    Args:
        value: (n,), this party's, under the other's choices.
        bits: the products are modulo 2**bits.
        rows: n transfers each way for each bit of the numbers, the lowest first.
        sends, receives: whether this party has a value, and whether the other has one.
    """
    ring, rows = strings_of(bits), rows[:bits]
    n = rows[0].n
    total: np.ndarray = np.zeros(n, ring)
    mine = []
    if sends:
        for i, row in enumerate(rows):
            share, message = row.sent.strings(value.astype(strings_of(bits - i)), bits - i, use)
            total += share.astype(ring) << ring(i)
            mine.append(message)
    came = yield Turn(mine, [n * (bits - i) // WORD for i in range(len(rows) if receives else 0)])
    for i, (row, message) in enumerate(zip(rows, came)):
        total += row.received.strings(message, bits - i, use).astype(ring) << ring(i)
    return total


def words_of_choices(n: int) -> Words:
    """What :func:`choose` says for n transfers each way."""
    return [(n // WORD, n // WORD)]


def words_of_difference(n: int, length: int) -> Words:
    return [(n // WORD, n // WORD)] * length


def words_of_times(n: int, *bits: int, one: int = 0) -> Words:
    """bits: of each number."""
    return [(n * (sum(bits) + one) // WORD, n * sum(bits) // WORD)]


def words_of_cross(n: int, bits: int, rows: int, *, server: bool = True, client: bool = True) -> Words:
    """server, client: whether it has a value."""
    words = sum(n * (bits - i) // WORD for i in range(min(rows, bits)))
    return [(words * server, words * client)]


def strings_of(bits: int) -> type:
    """The ring in which strings of so many bits are computed."""
    return elements(32 if bits <= 32 else 64).type
