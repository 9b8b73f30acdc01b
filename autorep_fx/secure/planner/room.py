"""Whether a masked wire, and the windows on it, have room for what reaches them."""

from __future__ import annotations

import math

from ..plan.plan import SPARE
from ..plan.rounding import MOST_UNITS
from .node import Margins, Node, whole_bits


class NoRoom(Exception):
    """A masked wire or a window does not fit.

    Attributes:
        node: whose it is.
        bits: by how many bits.
    """

    def __init__(self, node: Node, bits: int):
        self.node, self.bits = node, bits


def check_room(node: Node, exponent: int, reach: float, margins: Margins, f: int) -> None:
    """Raise NoRoom unless a wire of this exponent that reaches so far, and is truncated to ``f`` at ``node``, fits the
    ring of those that end there."""
    if f < exponent and reach:  # the bits that are dropped wrap, too
        reach += math.ldexp(MOST_UNITS, -f)
    over = exponent + whole_bits(reach) + margins.ring - (node.wire - SPARE)
    if node.site is not None and len(node.site.kept):
        over = max(over, exponent + whole_bits(node.reach_kept) + margins.window + 1 - (node.wire - 1))
    if over > 0:
        raise NoRoom(node, over)


def give_up(lacks: NoRoom) -> bool:
    """Let a node without room do with less for extreme inputs; False where it asks for none."""
    node = lacks.node
    if not node.extreme and (node.site is not None or not node.extreme_kept):
        return False
    less = node.extreme * 2.0**-lacks.bits
    node.extreme = less if less > node.reach else 0.0
    if node.site is None:
        less = node.extreme_kept * 2.0**-lacks.bits
        node.extreme_kept = less if less > node.reach_kept else 0.0
    return True
