"""The input: as many bits as it is rounded to."""

from __future__ import annotations

import numpy as np

from ..node import Node
from ..planned import Bounded, Chosen, Planned
from ..reach import start
from ..source import Source


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    return Bounded(start(chosen.within.of(node.name), node.shape).numpy() + chosen.unit(node))


PLANNED = Planned(
    bound=_bound,
    exponent=lambda nodes, node, given, margins: node.frac_bits,
    emit=lambda chosen, node: (chosen.within.of(node.name).attrs, None),
    order=3,
    truncates=True,
)

SOURCES: dict[str, Source] = {}
