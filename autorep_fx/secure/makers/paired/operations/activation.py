"""For an activation: its mask truncated, squared where it has squares, and what its comparisons and splines take.

A unit is an element of the wire.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....correlations import layout
from ....correlations.prepared import Shares
from ....plan import wire as sizes
from ....plan.plan import Step
from ....plan.ring import kernel
from .. import comparisons, splines, wires
from ..making import Making, Piece
from ..maps.keys import fresh
from ..planes import joined_planes
from ..stock import Need, Transfers
from ..transfers import WORD, padded
from ..turns import Protocol, Words, together, words_together
from ..wires import Mask, Wire, truncated, up

#: Shares that are bits, as planes.
_PLANES = ("bits", "product", "mask")


def units(step: Step, batch: int) -> tuple[int, int]:
    return batch * step.wire_size, WORD


def wire_of(step: Step, piece: Piece) -> Wire:
    a = step.attrs
    return Wire(piece.size, a["wire"], a["shift"], step.width, a.get("powers", 1) >= 2)


def needs(step: Step, piece: Piece) -> list[Need]:
    n, is_spline = padded(_compared(step, piece)), "knots" in step.attrs
    wire = wire_of(step, piece)
    if not n:
        return wire.needs()
    points = len(sizes.points(step))
    found = wire.needs(server=is_spline, client=is_spline)
    found += comparisons.needs(step.attrs["window"], points * n // WORD, points * n, products=not is_spline)
    return found + (splines.needs(step.width, n, bends=sizes.bends(step)) if is_spline else [])


def words(step: Step, piece: Piece) -> Words:
    wire, n = wire_of(step, piece), padded(_compared(step, piece))
    found = wires.words(wire)
    if n:
        is_spline = "knots" in step.attrs
        u = comparisons.words_of_hidden(n * len(sizes.points(step)), step.width, wire.above, products=not is_spline)
        of_spline = splines.words(wire, n, bends=sizes.bends(step)) if is_spline else []
        found = found + words_together(u, of_spline)
    return found


def make(step: Step, piece: Piece, half: np.ndarray, found: Transfers, party: int) -> Protocol[Shares]:
    wire, whole = wire_of(step, piece), layout.layout(step, 1)
    mask = yield from truncated(wire, half.reshape(-1)[piece.first : piece.last], found, party)
    shares = mask_shares(wire, mask)
    if n := _compared(step, piece):
        positions = _positions(step, piece)
        positions = np.concatenate([positions, np.zeros(padded(n) - n, positions.dtype)])
        shares |= yield from _compare(step, n, wire, mask, positions, found, party)
    return {name: stored(shares[name], dtype) for name, (_, dtype) in whole.items() if name in shares} | {
        name: shares[name] for name in ("mask", "a") if name in shares
    }


def joined(step: Step, batch: int, pieces: list[Piece], shares: list[Shares]) -> Shares:
    whole, counts = layout.layout(step, batch), [_compared(step, piece) for piece in pieces]
    found = {}
    for name in {name: None for share in shares for name in share}:
        parts = [share[name] for share in shares if name in share]
        if len(parts) == 1:
            found[name] = parts[0]
        elif name in _PLANES:
            found[name] = joined_planes(parts, [n for n in counts if n])
        else:
            found[name] = np.concatenate(parts, -1)
    for name in _PLANES:
        if name in found:
            found[name] = found[name].reshape(len(found[name]), -1)
    return {name: share.reshape(whole[name][0]) if name in whole else share for name, share in found.items()}


def mask_shares(wire: Wire, mask: Mask) -> Shares:
    """What is shared of a wire, whole, by the names of the layout."""
    found = {"alpha": mask.alpha, "beta": up(mask.high, wire.length), "alpha2": mask.alpha2, "ab": mask.ab}
    return {name: share[: wire.n] for name, share in found.items() if share.size}


def stored(share: np.ndarray, dtype: type) -> np.ndarray:
    """As the layout has it, contiguous: where its type is half as wide, the high half."""
    if np.dtype(dtype).itemsize < share.itemsize:
        share = (share >> share.dtype.type(4 * share.itemsize)).astype(dtype)
    return np.ascontiguousarray(share)


def _compare(
    step: Step, n: int, wire: Wire, mask: Mask, positions: np.ndarray, found: Transfers, party: int
) -> Protocol[Shares]:
    """positions: of the n that are compared, in the wire's padded vectors, to whole words. Of what is shared the last
    axes are points and positions, or their words."""
    a, repeat, width = step.attrs, len(sizes.points(step)), len(positions) // WORD
    window = comparisons.window_planes(mask.planes[: a["window"]], positions, n)
    triple_masks, products = comparisons.triples(a["window"], repeat * width, found)
    is_spline = "knots" in a
    alpha, high = (np.tile(share[positions], repeat) for share in (mask.alpha, mask.high))
    asked: list[Protocol[Any]] = [comparisons.hidden(alpha, high, wire.above, found, party, products=not is_spline)]
    if is_spline:
        opening = _random((sizes.openings(step, 1)[0], len(positions)), step.width)
        opening[:, n:] = 0
        asked.append(splines.products(wire, mask, positions, opening, found, party, bends=sizes.bends(step)))
    (u, of_u), *of_spline = yield from together(*asked)
    shares: Shares = {"mask": triple_masks, "product": products}
    shares["bits"] = np.concatenate([np.tile(window, repeat), u[None]])
    shares = {name: planes.reshape(len(planes), repeat, width) for name, planes in shares.items()}
    hidden = dict(zip(("u", "u_alpha", "u_beta"), of_u))
    if "u_beta" in hidden:
        hidden["u_beta"] = up(hidden["u_beta"], wire.length)
    shares |= {name: v.reshape(repeat, -1)[:, :n] for name, v in hidden.items()}
    if is_spline:
        shares |= {name: v[..., :n] for name, v in of_spline[0].items()}
        shares["a"] = np.ascontiguousarray(opening[:, :n])
    return shares


def _random(shape: tuple[int, int], width: int) -> np.ndarray:
    """Ring elements that nobody else has; each row is of whole words."""
    rows, n = shape
    dtype = f"u{width // 8}"
    return kernel().prg_words(fresh().tobytes(), 0, (rows, n * width // WORD)).view(dtype)


def _compared(step: Step, piece: Piece) -> int:
    """How many elements of a piece are compared."""
    kept, size = step.attrs.get("kept", ()), step.wire_size
    return sum(
        sign * (at // size * len(kept) + int(np.searchsorted(kept, at % size)))
        for sign, at in ((1, piece.last), (-1, piece.first))
    )


def _positions(step: Step, piece: Piece) -> np.ndarray:
    """Which elements of a piece are compared, in order."""
    kept, size = sizes.keep(step), step.wire_size
    if kept is None:
        return np.arange(piece.size)
    samples = np.arange(piece.first // size, -(-piece.last // size))
    flat = (samples[:, None] * size + kept).reshape(-1)
    return flat[(flat >= piece.first) & (flat < piece.last)] - piece.first


MAKING = Making(units, needs, words, make, joined)
