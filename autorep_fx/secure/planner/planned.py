"""What planning has to know of one operation of a plan: its record. The passes over the nodes ask it, and name none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...text import brief
from ..plan.input_range import InputRange
from ..plan.plan import Step
from ..plan.server_numbers import Numbers
from ..program.spline import SPLINE_ERROR
from .node import Margins, Node, Nodes
from .rooms import Looked


@dataclass(frozen=True)
class Chosen:
    """Nodes whose exponents are chosen.

    Attributes:
        nodes: by name.
        e: exponent of every result.
        within: the inputs that the plan is for, which it publishes.
        margin: bits by which compared values may exceed their reach.
        spline_error: of activations that are kept as splines.
        tables: whether there may be tables for their knots.
    """

    nodes: Nodes
    e: Mapping[str, int]
    within: InputRange
    margin: int = 0
    spline_error: float = SPLINE_ERROR
    tables: bool = False

    __repr__ = brief

    def given(self, node: Node) -> list[int]:
        """Exponents of a node's inputs."""
        return [self.e[name] for name in node.inputs]

    def unit(self, node: Node) -> float:
        """What the result's last bit is worth."""
        return 2.0 ** -self.e[node.name]


class Bounded(NamedTuple):
    """What no input exceeds, in absolute value: the result; of a masked node what reaches ``Node.reach`` and
    ``Node.reach_kept``."""

    result: np.ndarray
    reach: float = 0.0
    reach_kept: float = 0.0

    def __repr__(self) -> str:
        return brief(self)


def _largest(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    return max(given)


def _as_it_is(chosen: Chosen, node: Node) -> tuple[dict[str, Any], Numbers | None]:
    return {}, None


@dataclass(frozen=True)
class Planned:
    """One operation.

    Attributes:
        bound: of the result, roundings included, from those of the inputs (bounds.py).
        exponent: of the result, from those of the inputs; raises NoRoom where a wire or window of its own has none.
        emit: the step's attributes beside the node's own, and the server's numbers for it (emit.py).
        order: when its bits are raised, of nodes that lack as many (bit_allocation.py).
        truncates: whether its result has an exponent that those before it are not part of.
        multiplies: whether it adds to an exponent, so that a truncation before it makes room behind it.
        rooms: of a masked step: ((step, room), what each sample uses of it), from the values of the program that was
            planned (headroom.py).
    """

    bound: Callable[[Chosen, Node, list[np.ndarray]], Bounded] = field(repr=False)
    exponent: Callable[[Nodes, Node, list[int], Margins], int] = field(default=_largest, repr=False)
    emit: Callable[[Chosen, Node], tuple[dict[str, Any], Numbers | None]] = field(default=_as_it_is, repr=False)
    order: int = 0
    truncates: bool = False
    multiplies: bool = False
    rooms: Callable[[Looked, Step], Iterator[tuple[tuple[str, str], np.ndarray]]] | None = field(
        default=None, repr=False
    )

    __repr__ = brief
