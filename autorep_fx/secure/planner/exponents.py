"""The exponent of every result for given bits, and whether each masked wire has room for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from .node import Margins, Node, Nodes
from .table import PLANNED


def exponents(nodes: Nodes, margins: Margins) -> dict[str, int]:
    """Exponent of every result.

    Raises:
        NoRoom: at the first masked wire or window that does not fit.
    """
    e: dict[str, int] = {}
    for node in nodes.values():
        e[node.name] = PLANNED[node.op].exponent(nodes, node, [e[name] for name in node.inputs], margins)
    return e


def untruncated(nodes: Nodes, names: Iterable[str]) -> Iterator[Node]:
    """``names`` and what they are computed from since the last truncations, each once, the nearest first."""
    waiting, seen = deque(names), set()
    while waiting:
        node = nodes[waiting.popleft()]
        if node.name not in seen and not PLANNED[node.op].truncates:
            seen.add(node.name)
            waiting += node.inputs
            yield node
