"""What a site comes to for the bits that are chosen: squares or lines, and the exponent of its result."""

from __future__ import annotations

import math

import numpy as np

from ..program.spline import allowed
from .node import Node, Nodes, whole_bits
from .site import Rounded, Site

#: Fractional bits of a kept activation's slope where the site has no squares.
_SLOPE_BITS = 12


def factor_of(nodes: Nodes, site: Site) -> int:
    """Fractional bits of the factors behind a site; none where they are all 1."""
    return nodes[site.name].frac_bits if len(site.replaced) and not site.unit else 0


def site_form(nodes: Nodes, node: Node) -> tuple[bool, float]:
    """Whether any replaced position of an activation is a square, and the largest offset of one."""
    if node.site is None or not len(node.site.replaced):
        return False, 0.0
    factor_bits = factor_of(nodes, node.site)
    if factor_bits not in node.forms:
        node.forms[factor_bits] = _used(node.site, node.site.round(factor_bits, 40))
    return node.forms[factor_bits]


def _used(site: Site, rounded: Rounded) -> tuple[bool, float]:
    channels = site.replaced_channels
    return bool(rounded.square[channels].any()), float(np.abs(rounded.offset[channels]).max(initial=0.0))


def spline_allowance(node: Node, error: float) -> float:
    """How far off the spline of a kept activation may be. Room for other inputs makes nothing less precise for those
    that reach no further; and what is larger than its argument may be off by as much more."""
    return allowed(node.site.kind, error, math.ldexp(1.0, max(whole_bits(node.reach_kept), node.scale)))


def align(node: Node, f: int, square: bool) -> int:
    """By how much the exponent of an activation's result exceeds f."""
    if node.has_spline:
        return f + node.coefficient_bits
    if square:
        return f
    return _SLOPE_BITS if node.site is not None and node.site.sloped else 0
