"""What the server adds: numbers, tensors, and what is left of polynomials whose factors are all 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...plan.ring import encode
from ...plan.server_numbers import Numbers
from ...program.program import Step
from .. import polynomials
from ..builder import Builder
from ..node import Node
from ..planned import Bounded, Chosen, Planned
from ..source import Source


def _add_private(b: Builder, step: Step) -> None:
    x = step.inputs[0]
    if b.nodes[x].shape != step.shape:
        x = b.local("broadcast", f"{step.name}.broadcast", [x], step.shape)
    b.constant(step.name, x, step.shape, b.secret(step, "constant"))


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    if node.site is not None:
        return Bounded(polynomials.bound(chosen, node, given[0]) + chosen.unit(node))
    return Bounded(given[0] + np.abs(node.constant) + chosen.unit(node))


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], Numbers]:
    constant = node.constant if node.site is None else polynomials.constants(chosen, node)
    return {}, Numbers(constant=np.asarray(encode(constant, chosen.e[node.name])))


PLANNED = Planned(_bound, emit=_emit)

SOURCES = {
    "add_number": Source(
        lambda b, s: b.constant(s.name, s.inputs[0], s.shape, np.array(s.attrs["number"])),
        lambda step, secrets, x: x + abs(step.attrs["number"]),
        affine=True,
    ),
    "add_private": Source(_add_private, lambda step, secrets, x: x + secrets["constant"].abs(), affine=True),
}
