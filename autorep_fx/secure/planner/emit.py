"""From nodes with their exponents to the public plan and the server's ring numbers."""

from __future__ import annotations

from ..plan.plan import Plan, Step
from ..plan.server_numbers import Numbers
from .node import Nodes
from .planned import Chosen
from .table import PLANNED


def emit(chosen: Chosen) -> tuple[Plan, dict[str, Numbers]]:
    """The plan, and the server's numbers by step."""
    steps: list[Step] = []
    width = _widths(chosen.nodes)
    numbers: dict[str, Numbers] = {}
    for node in chosen.nodes.values():
        attrs, own = PLANNED[node.op].emit(chosen, node)
        attrs = {**{k: v for k, v in node.attrs.items() if k != "real"}, **attrs}
        if own is not None:
            numbers[node.name] = own
        exponent, inputs = chosen.e[node.name], tuple(node.inputs)
        steps.append(Step(node.name, node.op, inputs, node.shape, exponent, width[node.name], attrs))
    return Plan(tuple(steps)), numbers


def _widths(nodes: Nodes) -> dict[str, int]:
    """Bits of every result's ring: as many as the widest masked wire needs that it goes into."""
    width = {name: 0 for name in nodes}
    for node in reversed(nodes.values()):
        if node.op == "output":
            width[node.name] = node.wire
        needed = node.wire if node.masked else width[node.name]
        for name in node.inputs:
            width[name] = max(width[name], needed)
    return width
