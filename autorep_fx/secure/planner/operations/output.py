"""The output: truncated to the bits that the client gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...plan.plan import Step
from ..node import Margins, Node, Nodes
from ..planned import Bounded, Chosen, Planned
from ..room import check_room
from ..rooms import Looked, of_wire
from ..source import Source


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    f = min(node.frac_bits, given[0])
    check_room(node, given[0], max(node.reach, node.extreme), margins, f)
    return f


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    return Bounded(given[0], float(given[0].max()))


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], None]:
    (exponent,) = chosen.given(node)
    return {"shift": exponent - min(node.frac_bits, exponent), "wire": node.wire}, None


def _rooms(looked: Looked, step: Step) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    return of_wire(looked, step, looked.values[looked.program.public.output])


PLANNED = Planned(_bound, _exponent, _emit, order=4, rooms=_rooms)

SOURCES: dict[str, Source] = {}
