"""Matrix products of two private tensors: nothing is truncated, exponents add up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...program.program import Step as ProgramStep
from ..builder import Builder
from ..node import Margins, Node, Nodes
from ..planned import Bounded, Chosen, Planned
from ..source import Source


def _build(b: Builder, step: ProgramStep) -> None:
    first, second = (b.nodes[name].shape for name in step.inputs)
    b.add(Node(step.name, "matmul", list(step.inputs), step.shape, {"first": first, "second": second}))


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    return sum(given)


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    return Bounded(given[0] @ given[1])


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], None]:
    return {"wire": node.wire}, None


PLANNED = Planned(_bound, _exponent, _emit, multiplies=True, rooms=lambda looked, step: iter(()))

SOURCES = {"matmul": Source(_build, lambda step, secrets, x, y: x @ y)}
