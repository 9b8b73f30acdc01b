"""Products of two private tensors (gates): both factors are truncated to as many significant bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...plan.input_headroom import RINGS
from ...plan.plan import Step
from ...plan.rounding import MOST_UNITS
from ...program.program import Step as ProgramStep
from ..builder import Builder
from ..node import Margins, Node, Nodes, whole_bits
from ..planned import Bounded, Chosen, Planned
from ..room import check_room
from ..rooms import Looked, largest
from ..source import Source


def _build(b: Builder, step: ProgramStep) -> None:
    x, y = step.inputs
    shapes = {"first": b.nodes[x].shape, "second": b.nodes[y].shape}
    reaches = b.reach(x), b.reach(y)
    extremes = {"extreme": b.extreme(x), "extreme_kept": b.extreme(y)}
    b.add(Node(step.name, "product", [x, y], step.shape, shapes, bits=0, most=b.limits.value, reach=reaches[0],
               reach_kept=reaches[1], gain=b.gains.product(step.name, tuple(map(whole_bits, reaches))),
               **extremes, **b.results(step.name)))  # fmt: skip


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    reaches = max(node.reach, node.extreme), max(node.reach_kept, node.extreme_kept)
    truncated = _truncated(node, given)
    for exponent, reach, f in zip(given, reaches, truncated):
        check_room(node, exponent, reach, margins, f)
    return sum(truncated)


def _truncated(node: Node, given: list[int]) -> list[int]:
    """Exponents of the truncated factors: each has the node's significant bits."""
    reaches = (node.reach, node.reach_kept)
    return [min(max(node.bits - whole_bits(reach), 0), e) for reach, e in zip(reaches, given)]


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    units = [MOST_UNITS * 2.0**-f for f in _truncated(node, chosen.given(node))]
    return Bounded((given[0] + units[0]) * (given[1] + units[1]), *(float(bound.max()) for bound in given))


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], None]:
    given = chosen.given(node)
    shift = tuple(e - f for e, f in zip(given, _truncated(node, given)))
    return {"wire": node.wire, "exponents": tuple(given), "shift": shift}, None


def _rooms(looked: Looked, step: Step) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    for room, name in zip(RINGS, looked.sources[step.name].inputs):
        value = looked.values[name]
        yield (step.name, room), largest(value.reshape(len(value), -1))


PLANNED = Planned(_bound, _exponent, _emit, order=2, truncates=True, rooms=_rooms)

SOURCES = {"mul": Source(_build, lambda step, secrets, x, y: x * y, truncated=True)}
