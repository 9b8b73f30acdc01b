"""Activations: sites, comparisons of max poolings, and truncations in between."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....errors import CompileError
from ...plan import wire
from ...plan.ring import encode
from ...plan.rounding import MOST_UNITS
from ...plan.server_numbers import Numbers
from ...program import tensor_ops
from ...program.kept import slope_of
from ...program.kinds import EXACT
from ...program.program import Step
from ...program.spline import largest, possible, spline
from ..hybrid import build_hybrid
from ..max_pool import build_max_pool
from ..node import Margins, Node, Nodes, whole_bits
from ..planned import Bounded, Chosen, Planned
from ..room import check_room
from ..rooms import of_activation
from ..site_form import align, factor_of, site_form, spline_allowance
from ..source import Source
from ..spline_errors import spline_error_at

#: Of fewer knots a tree takes less offline than a table; and how many times as many a grid may take, which costs keys.
_FEW_KNOTS, _MORE_KNOTS = 4, 1.25

#: How many times as far off as it is to be a spline of such knots may be, where none is nearer, but never more than
#: its activation may be: a tree sends five times as much as a table, and whether a plan is precise is measured.
_COARSER = (1, 2, 4, 8)


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    square, offset = site_form(nodes, node)
    f = min(node.frac_bits, given[0])
    check_room(node, given[0], max(node.reach + offset, node.reach_kept, node.extreme), margins, f)
    return f + align(node, f, square)


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    """Of the truncated input, where it is replaced."""
    (exponent,), site = chosen.given(node), node.site
    f = min(node.frac_bits, exponent)
    truncated = given[0] + MOST_UNITS * 2.0**-f
    reach = float(given[0].max())
    if site is None or not len(site.kept):
        return Bounded(truncated, reach)
    bound = truncated.reshape(1, -1).copy()
    kept = float(bound[:, site.kept].max())
    if site.params is not None:
        bound[:, site.kept] = largest(site.kind, site.params, bound[:, site.kept])
        kept *= 2
    else:
        kind, slope_unit = EXACT[site.kind], 2.0 ** -(chosen.e[node.name] - f)
        bound[:, site.kept] = kind.bound(bound[:, site.kept], np.float64(abs(site.slope) + slope_unit))
        kept = kind.compared(kept)
    if site.lifts is not None:
        bound[:, site.kept] *= 2.0 ** np.array(site.lifts)[site.kept // site.per_channel]
    return Bounded(bound.reshape(truncated.shape), reach, kept)


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], Numbers | None]:
    """Public attributes, and the server's offsets by position.

    shift: bits that the truncation takes off. align: shift of values with exponent f to that of the result. powers: 0
    no truncated value is needed, 1 x, 2 also its square. kept, linear: positions. window: bits of a comparison.
    """
    (exponent,), size = chosen.given(node), math.prod(node.shape)
    f = min(node.frac_bits, exponent)
    attrs: dict[str, Any] = {"shift": exponent - f, "wire": node.wire}
    if node.site is None:
        truncate = {"kind": "truncate", "align": 0, "powers": 1, "kept": np.arange(0)}
        return {**attrs, **truncate, "linear": None, "comparison": None}, None
    site, (square, _) = node.site, site_form(chosen.nodes, node)
    attrs.update(kind=site.kind, align=align(node, f, square), kept=np.asarray(site.kept, np.int64),
                 powers=2 if square else 1 if len(site.replaced) or site.sloped else 0,
                 linear=None, comparison="fss" if len(site.kept) else None)  # fmt: skip
    if site.lifts is not None:
        attrs["lifts"] = site.lifts
    if len(site.kept):
        attrs["window"] = _window(node, f, exponent - f, chosen.margin)
        if site.sloped:
            attrs["slope"] = round(math.ldexp(site.slope, attrs["align"]))
        if site.params is not None:
            attrs.update(_spline(node, f, attrs["window"], chosen))
            attrs["powers"] = max(attrs["powers"], 1)
            if wire.bends_of(attrs["c2"]):
                attrs["powers"] = 2
                attrs["linear"] = None if square or not len(site.replaced) else ~_mask(site.kept, size)
    if not square:
        return attrs, None
    rounded = site.round(factor_of(chosen.nodes, site), exponent)
    offset, is_square = np.zeros(size), np.zeros(size, bool)
    offset[site.replaced] = site.by_position(rounded.offset)
    is_square[site.replaced] = site.by_position(rounded.square)
    if not is_square[site.replaced].all():
        linear = ~is_square
        linear[site.kept] = False
        attrs["linear"] = linear
    return attrs, Numbers(constant=encode(offset.reshape(node.shape), exponent))


def _window(node: Node, f: int, shift: int, margin: int) -> int:
    """Bits of the comparisons: for extreme inputs as many as the ring has, where what those reach is known."""
    if node.extreme_kept:
        bits = min(whole_bits(node.extreme_kept), node.wire - 2 - shift - f)
    else:
        bits = whole_bits(node.reach_kept) + margin
    return max(f + bits + 1, 4)


def _mask(positions: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[positions] = True
    return mask


def _spline(node: Node, f: int, window: int, chosen: Chosen) -> dict[str, Any]:
    """Knots and pieces, and how far off they are. Half of the window is for values, half for what a knot takes off."""
    site, limit = node.site, math.ldexp(1.0, window - 2 - f)
    error, grid = spline_error_at(node, f, chosen.spline_error), window - 1 - wire.CELL_BITS
    most, public = spline_allowance(node, chosen.spline_error), {}

    def given(error: float) -> tuple:
        return site.kind, site.params, limit, f, error, node.coefficient_bits

    try:
        error = possible(site.kind, site.params, limit, f, error, most, node.coefficient_bits)
        found = spline(*given(error))
    except ValueError as refused:
        raise CompileError(f"site '{site.name}' keeps {len(site.kept):,} positions: {refused}") from refused
    if chosen.tables and grid > 0 and len(found.knots) >= _FEW_KNOTS:
        for times in _COARSER:
            with contextlib.suppress(ValueError):  # no spline of such knots is as near
                on_grid = spline(*given(min(times * error, most)), grid=1 << grid)
                if len(on_grid.knots) <= _MORE_KNOTS * len(found.knots) + 1:
                    found, public = on_grid, {"grid": grid}
                    break
    rows = {f"c{k}": tuple(found.pieces[:, k].tolist()) for k in range(3)}
    return {"knots": tuple(found.knots.tolist()), **rows, "error": found.error, **public}


def _hybrid(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = flat.clone()
    if len(a["kept"]) and a["kind"] in EXACT:
        out[:, a["kept"]] = EXACT[a["kind"]].bound(flat[:, a["kept"]], torch.as_tensor(slope_of(step, secrets)))
    elif len(a["kept"]):
        bound = largest(a["kind"], a["params"], flat[:, a["kept"]].double().numpy())
        out[:, a["kept"]] = torch.from_numpy(bound).to(out)
    if len(a["replaced"]):
        z = flat[:, a["replaced"]]
        coeffs = tensor_ops.by_position(step, secrets["coeffs"], "replaced")
        out[:, a["replaced"]] = sum(c.abs() * z**k for k, c in enumerate(coeffs))
    return out.view_as(x)


PLANNED = Planned(_bound, _exponent, _emit, order=2, truncates=True, rooms=of_activation)

SOURCES = {
    "hybrid": Source(build_hybrid, _hybrid, truncated=True, scales="position"),
    "max_pool2d": Source(build_max_pool, lambda step, secrets, x: tensor_ops.windows(step, x, 0.0).amax(0)),
}
