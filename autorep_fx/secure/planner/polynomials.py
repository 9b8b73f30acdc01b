"""What stands behind the squares and lines of a site: factors, or a constant alone where they are all 1."""

from __future__ import annotations

import math

import numpy as np

from .node import Node
from .planned import Chosen
from .site import Rounded
from .site_form import factor_of


def rounded(chosen: Chosen, node: Node) -> Rounded:
    """The numbers of a site for the bits that are chosen. node: behind its activation."""
    act = chosen.nodes[node.inputs[0]]
    return node.site.round(factor_of(chosen.nodes, node.site), chosen.e[act.inputs[0]])


def constants(chosen: Chosen, node: Node) -> np.ndarray:
    """What is added behind, shaped like a sample."""
    site, flat = node.site, np.zeros(math.prod(node.shape))
    flat[site.replaced] = site.by_position(rounded(chosen, node).constant)
    return flat.reshape(node.shape)


def bound(chosen: Chosen, node: Node, given: np.ndarray) -> np.ndarray:
    """Replaced positions: the rounded polynomial of the truncated input, which ``given`` bounds there."""
    site, found = node.site, rounded(chosen, node)
    factor, offset, constant = (site.by_position(v) for v in (found.factor, found.offset, found.constant))
    square = site.by_position(found.square)
    result = given.reshape(1, -1).copy()
    z = result[:, site.replaced]
    squares = np.abs(factor) * z**2 + np.abs(2 * factor * offset) * z + np.abs(factor * offset**2 + constant)
    result[:, site.replaced] = np.where(square, squares, np.abs(factor) * z + np.abs(constant))
    return result.reshape(given.shape)
