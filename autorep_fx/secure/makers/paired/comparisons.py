"""What the comparisons of a site need: the window's planes, the bit u that hides a result, and the triples of the
tree."""

from __future__ import annotations

import numpy as np

from ...plan import wire as sizes
from ...plan.ring import kernel
from .arithmetic import bits_of, times, words_of_times
from .stock import Need, Transfers
from .transfers import WORD
from .turns import Protocol, Words

#: Uses of the transfers of u: u itself, u alpha, u beta.
_U = 0


def needs(window: int, width: int, n: int, *, products: bool) -> list[Need]:
    """Transfers of n bits u, in planes of ``width`` words: two for each merge of the tree (of which the other direction
    has one), one for u."""
    return [Need(nodes // 2 * width * WORD, bits=2) for nodes in sizes.levels(window)] + [
        Need(n, server=True, client=products)
    ]


def triples(window: int, width: int, found: Transfers) -> tuple[np.ndarray, np.ndarray]:
    """This party's masks and products of the tree's AND triples (plan/wire.py `masks`, `products`); no message.

    A merge has ``a``, the choices of a transfer each way, and one or two ``b``, the sum of a bit of both strings: what
    is hidden of the product is in the bits that were chosen.
    """
    masks, products = [], []
    for nodes in sizes.levels(window):
        pairs = nodes // 2
        pair = found.take()
        a = pair.received.choices.reshape(pairs, width)
        (ones, others), got = bits_of(pair)
        b = (ones ^ others).reshape(2, pairs, width)
        c = (ones ^ got).reshape(2, pairs, width) ^ (a & b)
        masks += [a, b[0], b[1][:-1]]
        products += [c[0], c[1][:-1]]
    return np.concatenate(masks), np.concatenate(products)


def hidden(
    alpha: np.ndarray, high: np.ndarray, above: int, found: Transfers, party: int, *, products: bool
) -> Protocol[tuple[np.ndarray, list[np.ndarray]]]:
    """The random bit u of each comparison, as a plane, and shares of u and, of ``products``, of u alpha and u high.

    alpha, high: (n,), n a multiple of 64, in the result's ring; high counts modulo 2**above.
    """
    width, pair = 8 * alpha.itemsize, found.take()
    wanted = [(alpha, width)] + ([(high, above)] if above else []) if products else []
    shares = yield from times(pair.received.choices, wanted, pair, use=_U, one=width, party=party)
    shares = [share.astype(alpha.dtype) for share in shares]
    if products and not above:
        shares.append(np.zeros_like(alpha))
    return pair.received.choices, shares


def words_of_hidden(n: int, width: int, above: int, *, products: bool) -> Words:
    return words_of_times(n, *((width, above) if above else (width,)) if products else (), one=width)


def window_planes(low: np.ndarray, positions: np.ndarray, n: int) -> np.ndarray:
    """The planes of n elements at positions of a wire, from those of all of it; those up to a whole word are zero."""
    k = kernel()
    values = k.unpack_bits(np.ascontiguousarray(low), WORD * low.shape[1])[positions]
    values[n:] = 0
    return k.pack_bits(values, bits=len(low))
