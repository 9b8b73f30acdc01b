"""From the steps of a program to those of the native runtime, before any exponent is chosen."""

from __future__ import annotations

from ..program.program import Program
from .builder import Builder
from .known_gains import UNKNOWN, Gains
from .node import Limits, Margins, Node, Nodes, whole_bits
from .reach import Extremes, Reach
from .table import SOURCES


def build(program: Program, reach: Reach, limits: Limits, margins: Margins, whole: frozenset[str] = frozenset(),
          gains: Gains = UNKNOWN, extremes: Extremes | None = None) -> Nodes:  # fmt: skip
    """The nodes of a program, in order.

    whole: sites of which all positions travel, also where some are lines. extremes: what there is to be room for.
    """
    b, public = Builder(program, reach, limits, margins, whole, gains, extremes), program.public
    for name, shape in public.inputs.items():
        scale = whole_bits(b.reach(name))
        most = min(limits.input + max(scale, 0), limits.fraction + scale)
        b.add(Node(name, "input", [], shape, bits=0, most=most, scale=scale, gain=gains.rounded(name)))
    for step in public.steps:
        SOURCES[step.op].build(b, step)
    largest = b.reach(public.output)
    scale = whole_bits(largest)
    b.add(Node("output", "output", [public.output], public.output_shape, bits=0, most=limits.output + max(scale, 0),
               scale=scale, reach=largest, extreme=b.extreme(public.output), gain=gains.output))  # fmt: skip
    return b.nodes
