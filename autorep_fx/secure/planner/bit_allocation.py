"""How many significant bits everything has: what precision takes of each, and what there is room for beyond that."""

from __future__ import annotations

import math

from ..program.spline import BITS as SPLINE_BITS
from .exponents import Exponents
from .node import Node
from .room import NoRoom, give_up
from .table import PLANNED

#: Bits beyond what is needed that compared values get where there is room; each costs.
_SPARE = 1


def needed(nodes: dict[str, Node], error: float, unknown: int) -> dict[str, int]:
    """Bits with which every rounding adds the same to the output, and all together ``error``, as a part of its standard
    deviation. unknown: of what has no known gain, or none on the examples."""
    found = _enough(nodes, error, unknown)
    return {name: min(max(bits, nodes[name].least), nodes[name].most) for name, bits in found.items()}


def idle_weights(nodes: dict[str, Node], error: float) -> frozenset[str]:
    """Layers whose weights are so small that with none of them the output is off by less than their part of ``error``.

    A sum has as many fractional bits as the longest of its parts: where a residual block is multiplied by a millionth,
    all that is added to it has bits that say nothing, and the products behind it find no room.
    """
    found = _enough(nodes, error, unknown=1)
    return frozenset(name for name, bits in found.items() if nodes[name].weight is not None and bits <= 0)


def _enough(nodes: dict[str, Node], error: float, unknown: int) -> dict[str, int]:
    free = [node for node in nodes.values() if node.bits is not None]
    share = error**2 / max(len(free), 1)

    def bits(node: Node) -> int:
        gain = node.whole_gain
        return node.scale + math.ceil(math.log2(gain / share) / 2) if 0 < gain < math.inf else unknown

    return {node.name: bits(node) for node in free}


def added(nodes: dict[str, Node]) -> float:
    """The error that all roundings together add, as far as their gains are known."""
    known = [node for node in nodes.values() if node.gain is not None]
    return math.sqrt(sum(node.whole_gain * 4.0**-node.frac_bits for node in known))


def raise_bits(fitted: Exponents, wanted: dict[str, int], firm: dict[str, int]) -> None:
    """One bit more for each in turn, those first that lack most of what is wanted, while every wire keeps its room.

    What is compared gets little more than it needs: its windows cost with every bit. firm: bits for which room for
    extreme inputs is given up.
    """
    free = sorted((fitted.nodes[name] for name in wanted), key=lambda n: PLANNED[n.op].order)
    most = {node.name: node.most for node in free}
    for node in free:
        if node.gain is not None and node.site is not None and len(node.site.kept):
            most[node.name] = min(wanted[node.name] + _SPARE, node.most)
    lacks = max((wanted[node.name] - node.bits for node in free), default=0)
    for more in range(-lacks, max(most.values(), default=0)):
        for node in free:
            if node.bits != wanted[node.name] + more or node.bits >= most[node.name]:
                continue
            node.bits += 1
            if not _has_room(fitted, node, may_give_up=node.bits <= firm[node.name]):
                node.bits -= 1


def raise_coefficients(fitted: Exponents) -> None:
    """Bits of splines' coefficients, in turn, where room is left: an odd one is of no use to the square of a value."""
    for node in fitted.nodes.values():
        while node.coefficient_bits < SPLINE_BITS:
            node.coefficient_bits += 1
            if not _has_room(fitted, node, may_give_up=False):
                node.coefficient_bits -= 1
                break


def _has_room(fitted: Exponents, raised: Node, may_give_up: bool) -> bool:
    """Whether every wire has room, perhaps with less for extreme inputs; if not, those keep what they had."""
    before: dict[str, tuple[float, float]] = {}
    while True:
        try:
            fitted.changed(raised.name)
            return True
        except NoRoom as lacks:
            before.setdefault(lacks.node.name, (lacks.node.extreme, lacks.node.extreme_kept))
            if not (may_give_up and give_up(lacks)):
                break
    for name, (extreme, extreme_kept) in before.items():
        fitted.nodes[name].extreme, fitted.nodes[name].extreme_kept = extreme, extreme_kept
    return False
