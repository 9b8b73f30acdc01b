"""What no input of the range exceeds in the ring: interval arithmetic over the chosen exponents, roundings included.

Every bound is on the absolute value of a result as it is computed: with weights rounded to their bits, constants and
the input to half a unit of their exponents, and truncated values up to one unit off. What a float64 sum of positive
terms may itself be off is covered by ``_SLACK``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..plan import local
from ..plan.input_range import InputRange
from ..program.kinds import EXACT
from ..program.spline import largest
from .exponents import factor_exponents, factor_of, number
from .node import Node
from .ranges import start

_SLACK = 1 + 2.0**-24


def raise_to_bounds(nodes: dict[str, Node], e: dict[str, int], within: InputRange) -> bool:
    """Raise every wire's reach to its bound; False where none was below it.

    e: exponent of every result, for which the bound holds.
    """
    raised = False
    for node, wire, kept in _walk(nodes, e, within):
        if wire > node.reach or kept > node.reach_kept:
            node.reach, node.reach_kept = max(node.reach, wire), max(node.reach_kept, kept)
            raised = True
    return raised


def _walk(nodes: dict[str, Node], e: dict[str, int], within: InputRange):
    """(node, bound of its masked wire, bound of what it compares) of every activation and output."""
    bounds: dict[str, np.ndarray] = {}
    for node in nodes.values():
        given = [bounds[name] for name in node.inputs]
        unit = 2.0 ** -e[node.name]
        if node.op == "input":
            bound = start(within, node.shape).numpy() + unit
        elif node.op == "map":
            bound = _map(nodes, node, e, given[0]) + unit
        elif node.op == "constant" and node.site is not None:
            bound = _polynomials(nodes, node, e, given[0]) + unit
        elif node.op == "constant":
            bound = given[0] + np.abs(node.constant) + unit
        elif node.op == "local":
            bound = _local(node, given)
        elif node.op == "product":
            wires = [float(bound.max()) for bound in given]
            units = [2.0**-f for f in factor_exponents(node, [e[name] for name in node.inputs])]
            bound = (given[0] + units[0]) * (given[1] + units[1])
            yield node, *wires
        else:
            exponent = e[node.inputs[0]]
            wire = float(given[0].max())
            truncated = given[0] + 2.0 ** -min(node.frac_bits, exponent)
            slope_unit = 2.0 ** -(e[node.name] - min(node.frac_bits, exponent))
            bound, kept = _activation(node, truncated, slope_unit)
            yield node, wire, kept
        bounds[node.name] = bound * _SLACK


def _local(node: Node, given: list[np.ndarray]) -> np.ndarray:
    kind = node.attrs["kind"]
    if kind == "add":
        return given[0] + given[1]
    if kind == "times":
        factor, up = number(node)
        return given[0] * math.ldexp(abs(factor), -up)
    return local.LOCAL[kind](node, *given)


def _map(nodes: dict[str, Node], node: Node, e: dict[str, int], given: np.ndarray) -> np.ndarray:
    if node.site is not None:
        return _polynomials(nodes, node, e, given)
    a = node.attrs
    weight = np.ldexp(np.abs(np.rint(np.ldexp(node.weight, node.frac_bits))), -node.frac_bits)
    if a["kind"] == "conv2d":
        x, w = torch.from_numpy(np.ascontiguousarray(given)), torch.from_numpy(weight)
        bound = F.conv2d(x, w, None, a["stride"], a["padding"], a["dilation"], a["groups"]).numpy()
    elif a["kind"] == "linear":
        bound = given @ weight.T
    else:
        bound = given * weight.reshape(-1, *(1,) * (len(node.shape) - 1))
    return bound if node.constant is None else bound + np.abs(node.constant)


def _polynomials(nodes: dict[str, Node], node: Node, e: dict[str, int], given: np.ndarray) -> np.ndarray:
    """Replaced positions: the rounded polynomial of the truncated input, which ``given`` bounds there."""
    site = node.site
    rounded = site.round(factor_of(nodes, site), e[nodes[node.inputs[0]].inputs[0]])
    factor, offset, constant = (site.by_position(v) for v in (rounded.factor, rounded.offset, rounded.constant))
    square = site.by_position(rounded.square)
    bound = given.reshape(1, -1).copy()
    z = bound[:, site.replaced]
    squares = np.abs(factor) * z**2 + np.abs(2 * factor * offset) * z + np.abs(factor * offset**2 + constant)
    bound[:, site.replaced] = np.where(square, squares, np.abs(factor) * z + np.abs(constant))
    return bound.reshape(given.shape)


def _activation(node: Node, truncated: np.ndarray, slope_unit: float) -> tuple[np.ndarray, float]:
    """Bound of the result (of its truncated input, where it is replaced), and of what is compared."""
    site = node.site
    if site is None or not len(site.kept):
        return truncated, 0.0
    bound = truncated.reshape(1, -1).copy()
    kept = float(bound[:, site.kept].max())
    if site.params is not None:
        bound[:, site.kept] = largest(site.kind, site.params, bound[:, site.kept])
        kept *= 2
    else:
        kind = EXACT[site.kind]
        bound[:, site.kept] = kind.bound(bound[:, site.kept], np.float64(abs(site.slope) + slope_unit))
        kept = kind.compared(kept)
    if site.lifts is not None:
        bound[:, site.kept] *= 2.0 ** np.array(site.lifts)[site.kept // site.per_channel]
    return bound.reshape(truncated.shape), kept
