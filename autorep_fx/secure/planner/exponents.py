"""The exponent of every result for given bits, and whether each masked wire has room for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from ..plan.plan import SPARE
from ..program.spline import BITS as SPLINE_BITS
from .node import Margins, Node, whole_bits
from .site import Rounded, Site

#: Fractional bits of a kept activation's slope where the site has no squares.
_SLOPE_BITS = 12

#: What truncates what it reads.
TRUNCATING = ("activation", "product", "input")

#: Where a masked wire ends.
SINKS = ("activation", "product", "output")


class NoRoom(Exception):
    """A masked wire or a window does not fit.

    Attributes:
        node: whose it is.
        bits: by how many bits.
    """

    def __init__(self, node: Node, bits: int):
        self.node, self.bits = node, bits


def factor_of(nodes: dict[str, Node], site: Site) -> int:
    """Fractional bits of the factors behind a site; none where they are all 1."""
    return nodes[site.name].frac_bits if len(site.replaced) and not site.unit else 0


def _used(site: Site, rounded: Rounded) -> tuple[bool, float]:
    """Is any replaced position a square; the largest offset."""
    channels = np.unique(site.replaced // site.per_channel)
    return bool(rounded.square[channels].any()), float(np.abs(rounded.offset[channels]).max(initial=0.0))


def exponents(nodes: dict[str, Node], margins: Margins) -> dict[str, int]:
    """Exponent of every result.

    Raises:
        NoRoom: at the first masked wire or window that does not fit.
    """
    e: dict[str, int] = {}
    for node in nodes.values():
        given = [e[name] for name in node.inputs]
        e[node.name] = max(given, default=0)
        if node.op == "input":
            e[node.name] = node.frac_bits
        elif node.op == "map":
            e[node.name] += node.frac_bits
        elif node.attrs.get("kind") == "times":
            e[node.name] += number(node)[1]
        elif node.op == "output":
            _check(node, given[0], node.reach, margins)
            e[node.name] = min(node.frac_bits, given[0])
        elif node.op == "product":
            for exponent, reach in zip(given, (node.reach, node.reach_kept)):
                _check(node, exponent, reach, margins)
            e[node.name] = sum(factor_exponents(node, given))
        elif node.op == "activation":
            square, offset = site_form(nodes, node)
            _check(node, given[0], max(node.reach + offset, node.reach_kept), margins)
            f = min(node.frac_bits, given[0])
            e[node.name] = f + align(node, f, square)
    return e


def untruncated(nodes: dict[str, Node], names: Iterable[str]) -> Iterator[Node]:
    """``names`` and what they are computed from since the last truncations, each once, the nearest first."""
    waiting, seen = deque(names), set()
    while waiting:
        node = nodes[waiting.popleft()]
        if node.name not in seen and node.op not in TRUNCATING:
            seen.add(node.name)
            waiting += node.inputs
            yield node


def _check(node: Node, exponent: int, reach: float, margins: Margins) -> None:
    over = exponent + whole_bits(reach) + margins.ring - (node.wire - SPARE)
    if node.site is not None and len(node.site.kept):
        over = max(over, exponent + whole_bits(node.reach_kept) + margins.window + 1 - (node.wire - 1))
    if over > 0:
        raise NoRoom(node, over)


def factor_exponents(node: Node, given: list[int]) -> list[int]:
    """Exponents of the truncated factors of a product: each has the node's significant bits."""
    reaches = (node.reach, node.reach_kept)
    return [min(max(node.bits - whole_bits(reach), 0), e) for reach, e in zip(reaches, given)]


def site_form(nodes: dict[str, Node], node: Node) -> tuple[bool, float]:
    if node.site is None or not len(node.site.replaced):
        return False, 0.0
    factor_bits = factor_of(nodes, node.site)
    if factor_bits not in node.forms:
        node.forms[factor_bits] = _used(node.site, node.site.round(factor_bits, 40))
    return node.forms[factor_bits]


def align(node: Node, f: int, square: bool) -> int:
    """By how much the result's exponent exceeds f."""
    if node.site is not None and node.site.params is not None and len(node.site.kept):
        return f + SPLINE_BITS
    if square:
        return f
    return _SLOPE_BITS if node.site is not None and node.site.sloped else 0


def number(node: Node) -> tuple[int, int]:
    """(integer, what it adds to the exponent) of a public factor."""
    if "factor" in node.attrs:
        return node.attrs["factor"], node.attrs["up"]
    real = node.attrs["real"]
    up = max(node.bits - math.floor(math.log2(abs(real))), 0) if real else 0
    return round(math.ldexp(real, up)), up
