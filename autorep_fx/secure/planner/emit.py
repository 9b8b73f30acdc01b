"""From nodes with their exponents to the public plan and the server's ring numbers."""

from __future__ import annotations

import math

import numpy as np

from ...errors import CompileError
from ..plan import wire
from ..plan.input_range import InputRange
from ..plan.plan import Plan, Step
from ..plan.ring import encode
from ..plan.server_numbers import Numbers
from ..program.spline import allowed, spline
from .exponents import SINKS, align, factor_exponents, factor_of, number, site_form
from .node import Node, whole_bits
from .site import Site


def emit(
    nodes: dict[str, Node], e: dict[str, int], window_margin: int, within: InputRange, spline_error: float
) -> tuple[Plan, dict[str, Numbers]]:
    """``window_margin``: bits by which compared values may exceed their reach. ``within``: what the plan publishes.
    spline_error: of activations that are kept as splines."""
    steps: list[Step] = []
    width = _widths(nodes)
    numbers: dict[str, Numbers] = {}
    for node in nodes.values():
        attrs = {k: v for k, v in node.attrs.items() if k != "real"}
        inputs, out = tuple(node.inputs), e[node.name]
        if node.op == "input":
            attrs.update(within.attrs)
        elif node.op == "local":
            attrs["shifts"] = tuple(max(e[i] for i in inputs) - e[i] for i in inputs)
            if attrs["kind"] == "times":
                attrs["factor"], attrs["up"] = number(node)
        elif node.op == "constant":
            constant = node.constant if node.site is None else _constants(nodes, node, e)
            numbers[node.name] = Numbers(constant=np.asarray(encode(constant, out)))
        elif node.op == "map":
            attrs["weight_bits"] = node.frac_bits
            numbers[node.name] = _map_numbers(nodes, node, e)
        elif node.op == "product":
            attrs["wire"] = node.wire
            given = [e[name] for name in inputs]
            truncated = factor_exponents(node, given)
            attrs.update(exponents=tuple(given), shift=tuple(g - f for g, f in zip(given, truncated)))
        elif node.op in ("activation", "output"):
            shift = e[inputs[0]] - min(node.frac_bits, e[inputs[0]])
            attrs.update(shift=shift, wire=node.wire)
            if node.op == "activation":
                found, offset = _activation(nodes, node, e[inputs[0]], shift, window_margin, spline_error)
                attrs.update(found)
                if offset is not None:
                    numbers[node.name] = Numbers(constant=offset)
        steps.append(Step(node.name, node.op, inputs, node.shape, out, width[node.name], attrs))
    return Plan(tuple(steps)), numbers


def _widths(nodes: dict[str, Node]) -> dict[str, int]:
    """Bits of every result's ring: as many as the widest masked wire needs that it goes into."""
    width = {name: 0 for name in nodes}
    for node in reversed(nodes.values()):
        if node.op == "output":
            width[node.name] = node.wire
        needed = node.wire if node.op in SINKS else width[node.name]
        for name in node.inputs:
            width[name] = max(width[name], needed)
    return width


def _constants(nodes: dict[str, Node], node: Node, e: dict[str, int]) -> np.ndarray:
    """What is added behind a site's squares and lines, shaped like a sample."""
    site = node.site
    rounded = site.round(factor_of(nodes, site), e[nodes[node.inputs[0]].inputs[0]])
    flat = np.zeros(math.prod(node.shape))
    flat[site.replaced] = site.by_position(rounded.constant)
    return flat.reshape(node.shape)


def _map_numbers(nodes: dict[str, Node], node: Node, e: dict[str, int]) -> Numbers:
    out = e[node.name]
    if node.site is None:
        weight = encode(node.weight, node.frac_bits)
        constant = None if node.constant is None else encode(node.constant, out)
    else:
        site = node.site
        rounded = site.round(node.frac_bits, e[nodes[node.inputs[0]].inputs[0]])
        weight = encode(rounded.factor, node.frac_bits)
        constant = encode(_constants(nodes, node, e), out)
    largest = int(np.abs(weight.view(np.int64)).max(initial=0))
    return Numbers(weight, constant, 16 if largest < 2**15 else 32 if largest < 2**31 else 64)


def _activation(
    nodes: dict[str, Node], node: Node, exponent: int, shift: int, margin: int, spline_error: float
) -> tuple[dict, np.ndarray | None]:
    """Public attributes, and the server's offsets by position.

    shift: bits that the truncation takes off. align: shift of values with exponent f to that of the result. powers: 0
    no truncated value is needed, 1 x, 2 also its square. kept, linear: positions. window: bits of a comparison.
    """
    f, size = exponent - shift, math.prod(node.shape)
    if node.site is None:
        return {
            "kind": "truncate",
            "align": 0,
            "powers": 1,
            "kept": np.arange(0),
            "linear": None,
            "comparison": None,
        }, None
    site, (square, _) = node.site, site_form(nodes, node)
    attrs = {"kind": site.kind, "align": align(node, f, square), "kept": np.asarray(site.kept, np.int64),
             "powers": 2 if square else 1 if len(site.replaced) or site.sloped else 0,
             "linear": None, "comparison": "fss" if len(site.kept) else None}  # fmt: skip
    if site.lifts is not None:
        attrs["lifts"] = site.lifts
    if len(site.kept):
        attrs["window"] = max(f + whole_bits(node.reach_kept) + margin + 1, 4)
        if site.sloped:
            attrs["slope"] = round(math.ldexp(site.slope, attrs["align"]))
        if site.params is not None:
            attrs.update(_spline(site, f, attrs["window"], spline_error))
            attrs["powers"] = max(attrs["powers"], 1)
            if wire.bends_of(attrs["c2"]):
                attrs["powers"] = 2
                attrs["linear"] = None if square or not len(site.replaced) else ~_mask(site.kept, size)
    if not square:
        return attrs, None
    rounded = site.round(factor_of(nodes, site), exponent)
    offset, is_square = np.zeros(size), np.zeros(size, bool)
    offset[site.replaced] = site.by_position(rounded.offset)
    is_square[site.replaced] = site.by_position(rounded.square)
    if not is_square[site.replaced].all():
        linear = ~is_square
        linear[site.kept] = False
        attrs["linear"] = linear
    return attrs, encode(offset.reshape(node.shape), exponent)


def _mask(positions: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[positions] = True
    return mask


def _spline(site: Site, f: int, window: int, error: float) -> dict:
    """Knots and pieces, and how far off they are. Half of the window is for values, half for what a knot takes off."""
    try:
        limit = math.ldexp(1.0, window - 2 - f)
        found = spline(site.kind, site.params, limit, f, allowed(error, limit))
    except ValueError as refused:
        raise CompileError(f"site '{site.name}' keeps {len(site.kept):,} positions: {refused}") from refused
    rows = {f"c{k}": tuple(found.pieces[:, k].tolist()) for k in range(3)}
    return {"knots": tuple(found.knots.tolist()), **rows, "error": found.error}
