"""For an activation: its mask truncated, squared where it has squares, and what its comparisons and splines take."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....correlations import layout
from ....correlations.prepared import Shares
from ....correlations.stream import Stream
from ....plan import wire as sizes
from ....plan.plan import Step
from .. import comparisons, splines, wires
from ..making import Making
from ..seeds import OPENING
from ..transfers import Transfers, padded
from ..turns import Protocol, Words, together, words_together
from ..wires import Mask, Wire, truncated, up


def wire_of(step: Step, batch: int) -> Wire:
    a = step.attrs
    return Wire(batch * step.wire_size, a["wire"], a["shift"], step.width, a.get("powers", 1) >= 2)


def transfers(step: Step, batch: int) -> int:
    found, n = wire_of(step, batch).transfers, padded(sizes.compared(step, batch))
    if n:
        found += comparisons.transfers(step.attrs["window"], sizes.planes(step, batch))
        if "knots" in step.attrs:
            found += splines.transfers(step.width, n, sizes.bends(step))
    return found


def words(step: Step, batch: int) -> Words:
    wire, n = wire_of(step, batch), padded(sizes.compared(step, batch))
    found = wires.words(wire)
    if n:
        is_spline = "knots" in step.attrs
        u = comparisons.words_of_hidden(n * len(sizes.points(step)), step.width, wire.above, products=not is_spline)
        of_spline = splines.words(wire, n, bends=sizes.bends(step)) if is_spline else []
        found = found + words_together(u, of_spline)
    return found


def make(
    step: Step, batch: int, half: np.ndarray, found: Transfers, party: int, index: int, stream: Stream
) -> Protocol[Shares]:
    wire, whole = wire_of(step, batch), layout.layout(step, batch)
    mask = yield from truncated(wire, half, found, party)
    shares = mask_shares(wire, mask)
    if n := sizes.compared(step, batch):
        kept = sizes.keep(step)
        positions = np.arange(wire.n) if kept is None else _flat(kept, batch, step.wire_size)
        positions = np.concatenate([positions, np.zeros(padded(n) - n, positions.dtype)])
        shares |= yield from _compared(step, batch, wire, mask, positions, found, party, index, stream)
    return {name: stored(shares[name], whole[name]) for name in whole} | {
        name: shares[name] for name in ("mask", "a") if name in shares
    }


def mask_shares(wire: Wire, mask: Mask) -> Shares:
    """What is shared of a wire, whole, by the names of the layout."""
    found = {"alpha": mask.alpha, "beta": up(mask.high, wire.length), "alpha2": mask.alpha2, "ab": mask.ab}
    return {name: share[: wire.n] for name, share in found.items() if share.size}


def stored(share: np.ndarray, entry: tuple[tuple[int, ...], type]) -> np.ndarray:
    """As the layout has it: in its shape, and where its type is half as wide, the high half."""
    shape, dtype = entry
    if np.dtype(dtype).itemsize < share.itemsize:
        share = (share >> share.dtype.type(4 * share.itemsize)).astype(dtype)
    return np.ascontiguousarray(share).reshape(shape)


def _compared(
    step: Step, batch: int, wire: Wire, mask: Mask, positions: np.ndarray, found: Transfers, party: int, index: int,
    stream: Stream,
) -> Protocol[Shares]:  # fmt: skip
    """positions: of what is compared, in the wire's padded vectors, to whole words."""
    a, n, repeat = step.attrs, sizes.compared(step, batch), len(sizes.points(step))
    width = sizes.planes(step, batch)
    window = comparisons.window_planes(mask.planes[: a["window"]], positions, n)
    triple_masks, products = comparisons.triples(a["window"], width, found)
    is_spline = "knots" in a
    alpha, high = (np.tile(share[positions], repeat) for share in (mask.alpha, mask.high))
    asked: list[Protocol[Any]] = [comparisons.hidden(alpha, high, wire.above, found, party, products=not is_spline)]
    if is_spline:
        opening = stream.elements(index, OPENING, sizes.openings(step, batch), step.width)
        whole_words = np.zeros((len(opening), len(positions)), opening.dtype)
        whole_words[:, :n] = opening
        asked.append(splines.products(wire, mask, positions, whole_words, found, party, bends=sizes.bends(step)))
    (u, of_u), *of_spline = yield from together(*asked)
    shares: Shares = {"mask": triple_masks, "product": products}
    shares["bits"] = np.concatenate([np.tile(window, repeat), u[None]])
    hidden = dict(zip(("u", "u_alpha", "u_beta"), of_u))
    if "u_beta" in hidden:
        hidden["u_beta"] = up(hidden["u_beta"], wire.length)
    shares |= {name: np.ascontiguousarray(v.reshape(repeat, -1)[:, :n]).reshape(-1) for name, v in hidden.items()}
    if is_spline:
        shares |= {name: np.ascontiguousarray(v[..., :n]) for name, v in of_spline[0].items()}
        shares["a"] = np.ascontiguousarray(whole_words[:, :n])
    return shares


def _flat(kept: np.ndarray, batch: int, size: int) -> np.ndarray:
    return (np.arange(batch)[:, None] * size + kept).reshape(-1)


MAKING = Making(transfers, words, make)
