"""For a product of two private values: both masks truncated, and all products of their halves
(parties/operations/product.py).

A unit is what both factors have at one place of the axes that they have alike.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from ....correlations import layout
from ....correlations.prepared import Shares
from ....parties.operations.product import factors
from ....plan.plan import Step
from ....plan.ring import elements
from .. import wires
from ..arithmetic import cross, times, words_of_cross, words_of_times
from ..making import Making, Piece
from ..stock import Need, Transfers
from ..transfers import Pair, padded
from ..turns import Protocol, Words, together, words_together
from ..wires import Mask, Wire, truncated, up
from .activation import mask_shares, stored

#: Uses of the transfers of the wires' chains, and of those of their bits, beside those of wires.py.
_CHAIN, _BIT = 2, 2


def units(step: Step, batch: int) -> tuple[int, int]:
    return batch * math.prod(step.shape[: _lead(step)]), 1


def wires_of(step: Step, piece: Piece) -> list[Wire]:
    return [Wire(piece.size * math.prod(shape), step.attrs["wire"], shift, step.width)
            for shape, shift in zip(_rows(step), step.attrs["shift"])]  # fmt: skip


def needs(step: Step, piece: Piece) -> list[Need]:
    return [need for wire in wires_of(step, piece) for need in wire.needs(server=True)]


def words(step: Step, piece: Piece) -> Words:
    first, second = both = wires_of(step, piece)
    n, width = padded(_size(step, piece)), step.width
    of_both = max(0, width - first.length - second.length)
    asked = [words_of_cross(n, width, wire.length, client=False) for wire in (second, first)]
    of_first = [bits for bits in (first.above, of_both) if bits]
    for wire, of_wrap, of_high in ((first, [first.above], of_first), (second, [second.above], [second.above])):
        if wire.above:
            asked += [words_of_times(n, *of_wrap), words_of_times(n, *of_high)]
    return words_together(*(wires.words(wire) for wire in both)) + words_together(*asked)


def make(step: Step, piece: Piece, half: np.ndarray, found: Transfers, party: int) -> Protocol[Shares]:
    own, whole, ring = wires_of(step, piece), layout.layout(step, 1), elements(step.width)
    halves = [part.reshape(-1, math.prod(row))[piece.first : piece.last]
              for part, row in zip(factors(step, half), _rows(step))]  # fmt: skip
    parts = [found.part(len(wire.needs(server=True))) for wire in own]
    masks = yield from together(
        *(truncated(wire, part, transfers, party) for wire, part, transfers in zip(own, halves, parts))
    )
    positions = [_positions(step, row, piece) for row in _rows(step)]
    products = yield from _products(own, masks, positions, party)
    n, both = _size(step, piece), [mask_shares(wire, mask) for wire, mask in zip(own, masks)]
    shares = {f"{name}{i}": part[name] for i, part in enumerate(both) for name in ("alpha", "beta")}
    shares |= {name: product[:n].astype(ring) for name, product in products.items()}
    return {name: stored(share, whole[name.rstrip("01")][1]) for name, share in shares.items()}


def joined(step: Step, batch: int, pieces: list[Piece], shares: list[Shares]) -> Shares:
    whole = layout.layout(step, batch)
    found = {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}
    for name in ("alpha", "beta"):
        found[name] = np.concatenate([found.pop(f"{name}{i}").reshape(batch, -1) for i in range(2)], 1)
    return {name: found[name].reshape(shape) for name, (shape, _) in whole.items()}


def _lead(step: Step) -> int:
    """How many axes both factors have alike, from the first on."""
    both = zip(step.attrs["first"], step.attrs["second"])
    return sum(1 for _ in itertools.takewhile(lambda sizes: sizes[0] == sizes[1], both))


def _rows(step: Step) -> list[tuple[int, ...]]:
    """Shapes of a unit of both factors."""
    return [tuple(step.attrs[name][_lead(step) :]) for name in ("first", "second")]


def _size(step: Step, piece: Piece) -> int:
    """Elements of the product."""
    return piece.size * math.prod(step.shape[_lead(step) :])


def _positions(step: Step, row: tuple[int, ...], piece: Piece) -> np.ndarray:
    """Where each element of the product has its factor, in the wire's vector; to whole words."""
    own = np.arange(piece.size * math.prod(row)).reshape(piece.size, *row)
    at = np.broadcast_to(own, (piece.size, *step.shape[_lead(step) :])).reshape(-1)
    return np.concatenate([at, np.zeros(padded(len(at)) - len(at), at.dtype)])


def _products(own: list[Wire], masks: list[Mask], positions: list[np.ndarray], party: int) -> Protocol[Shares]:
    """Shares of what ``aa``, ``ab``, ``ba``, ``bb`` name.

    With alpha_i = d_i + 2^L_i wrap_i: ``d_1 d_2`` meets by the chains of both; the wraps and the high bits are times
    what is shared of the other.
    """
    width = own[0].width
    ring = elements(width)
    (d1, d2), (alpha1, alpha2), (high1, high2) = (
        [getattr(mask, name)[at] for mask, at in zip(masks, positions)] for name in ("own", "alpha", "high")
    )

    def kept(pair: Pair, i: int) -> Pair:
        return pair.at(positions[i], len(masks[i].own))

    first, second = ([kept(pair, i) for pair in (mask.of_wrap, mask.of_high)] for i, mask in enumerate(masks))
    above1, above2 = (wire.above for wire in own)
    of_both = max(0, width - own[0].length - own[1].length)
    # The server's s1' meets the client's bits of B2', those of the second chain; its s2' those of the first.
    chains = [kept(mask.chain, i).rows(len(positions[i])) for i, mask in enumerate(masks)]
    to_client = functools.partial(cross, use=_CHAIN, sends=party == 0, receives=party == 1)
    d1d2, d2d1, of_first, of_second = yield from together(
        to_client(d1, width, chains[1]),
        to_client(d2, width, chains[0]),
        _of_bits(first, [(alpha2, above1)], [(alpha2, above1), (high2, of_both)], party),
        _of_bits(second, [(d1, above2)], [(alpha1, above2)], party),
    )
    aa = d1 * d2 - d1d2.astype(ring) - d2d1.astype(ring)
    wrap1_alpha2, high1_alpha2, high1_high2 = (v.astype(ring) for v in of_first)
    wrap2_d1, high2_alpha1 = (v.astype(ring) for v in of_second)
    aa += up(wrap1_alpha2, own[0].length) + up(wrap2_d1, own[1].length)
    return {
        "aa": aa,
        "ab": up(high2_alpha1, own[1].length),
        "ba": up(high1_alpha2, own[0].length),
        "bb": up(high1_high2, own[0].length + own[1].length),
    }


def _of_bits(
    pairs: list[Pair],
    of_wrap: list[tuple[np.ndarray, int]],
    of_high: list[tuple[np.ndarray, int]],
    party: int,
) -> Protocol[list[np.ndarray]]:
    """Shares of a wire's two bits times numbers, each modulo 2**bits; 0 where bits is 0."""
    wanted = [[(v, bits) for v, bits in values if bits] for values in (of_wrap, of_high)]
    asked = [(i, times(pair.received.choices, values, pair, use=_BIT, party=party))
             for i, (pair, values) in enumerate(zip(pairs, wanted)) if values]  # fmt: skip
    found = yield from together(*(protocol for _, protocol in asked))
    shares = dict(zip((i for i, _ in asked), map(iter, found)))
    return [next(shares[i]) if bits else np.zeros_like(v)
            for i, values in enumerate((of_wrap, of_high)) for v, bits in values]  # fmt: skip


MAKING = Making(units, needs, words, make, joined)
