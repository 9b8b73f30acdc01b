"""What the kept positions need that are splines (parties/splines.py): products of the masks of an opening and a
truncated mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...correlations.prepared import Shares
from ...plan.ring import kernel
from .arithmetic import cross, times, words_of_cross, words_of_times
from .stock import Need, Transfers
from .turns import Protocol, Words, together, words_together
from .wires import Mask, Wire, up

#: Uses of a wire's transfers beside those of wires.py: of its chain for each ``a alpha``; of its two bits from there
#: on.
_CHAIN, _BIT = 2, 2


def needs(width: int, n: int, *, bends: bool) -> list[Need]:
    """Transfers for n positions (a multiple of 64): the bits of the second mask."""
    return [Need(width * n, server=True, client=True)] if bends else []


def products(
    wire: Wire, mask: Mask, positions: np.ndarray, a: np.ndarray, found: Transfers, party: int, *, bends: bool
) -> Protocol[Shares]:
    """Shares of ``a alpha``, ``a beta`` and, where a piece bends, of ``a alpha^2`` and ``a (2 alpha beta - beta^2)``.

    Args:
        mask: of the whole wire.
        positions: in its padded vectors, as many as a multiple of 64.
        a: (1 or 2, n), this party's half of the opening's masks; the second is drawn here, into it.
    """
    ring, length, above = a.dtype, wire.length, wire.above
    size = len(mask.own)
    if bends:
        second = found.take()
        bits = second.received.choices.reshape(wire.width, -1)
        a[1] = kernel().unpack_bits(bits, len(positions))
    rows = mask.chain.at(positions, size).rows(len(positions))
    # alpha = s' - B' + 2^L wrap: the server's a meets the client's B', which is taken off.
    own = mask.own[positions]
    asked: list[Protocol[Any]] = [cross(v if party else -v, wire.width, rows, use=_CHAIN + i) for i, v in enumerate(a)]
    if above:
        values = [(v, above) for v in a]
        for pair in (mask.of_wrap, mask.of_high):
            kept = pair.at(positions, size)
            asked.append(times(kept.received.choices, values, kept, use=_BIT, party=party))
    if bends:
        rows = second.rows(len(positions))
        asked.append(cross(mask.alpha2[positions], wire.width, rows, use=0))
        if above > 1:  # a multiple of 2^(L + 1)
            ab = mask.ab[positions] >> ring.type(length + 1)
            asked.append(cross(ab, above - 1, rows, use=1))
    shares = yield from together(*asked)
    a_alpha = np.stack([v * own + share.astype(ring) for v, share in zip(a, shares)])
    a_beta = np.zeros_like(a)
    at = len(a)
    if above:
        wraps, highs = (np.stack([v.astype(ring) for v in share]) for share in shares[at : at + 2])
        a_alpha += up(wraps, length)
        a_beta = up(highs, length)
        at += 2
    if not bends:
        return {"a_alpha": a_alpha, "a_beta": a_beta}
    a_alpha2 = a[1] * mask.alpha2[positions] + shares[at].astype(ring)
    a_ab = a[1] * mask.ab[positions]
    if above > 1:
        a_ab += up(shares[at + 1].astype(ring), length + 1)
    return {"a_alpha": a_alpha, "a_beta": a_beta, "a_alpha2": a_alpha2, "a_ab": a_ab}


def words(wire: Wire, n: int, *, bends: bool) -> Words:
    """What :func:`products` says for n positions."""
    openings = 1 + bends
    asked = [words_of_cross(n, wire.width, wire.length)] * openings
    if wire.above:
        asked += [words_of_times(n, *[wire.above] * openings)] * 2
    if bends:
        asked.append(words_of_cross(n, wire.width, wire.width))
        if wire.above > 1:
            asked.append(words_of_cross(n, wire.above - 1, wire.width))
    return words_together(*asked)
