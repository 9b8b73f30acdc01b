"""The exponent of every result for given bits, and whether each masked wire has room for it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from .node import Margins, Node, Nodes
from .room import NoRoom
from .table import PLANNED


def exponents(nodes: Nodes, margins: Margins, known: Mapping[str, int] | None = None) -> dict[str, int]:
    """Exponent of every result. known: of the first ones.

    Raises:
        NoRoom: at the first masked wire or window that does not fit.
    """
    e = dict(known or {})
    for node in islice(nodes.values(), len(e), None):
        e[node.name] = PLANNED[node.op].exponent(nodes, node, [e[name] for name in node.inputs], margins)
    return e


class Exponents:
    """The same where one node is changed after another: only what depends on it is computed anew.

    Attributes:
        found: exponent of every result, by name.
    """

    def __init__(self, nodes: Nodes, margins: Margins):
        self.nodes, self.margins, self.found = nodes, margins, dict[str, int]()
        self._order = list(nodes.values())
        self._at = {name: i for i, name in enumerate(nodes)}
        self._readers: list[list[int]] = [[] for _ in nodes]
        self._bits_of: dict[str, list[int]] = {}  # sites, by the node whose bits they are rounded to
        for i, node in enumerate(self._order):
            for name in node.inputs:
                self._readers[self._at[name]].append(i)
            if node.site is not None:
                self._bits_of.setdefault(node.site.name, []).append(i)

    def fit(self, start: str | None = None) -> None:
        """Of ``start``, or the first node, and all behind it.

        Raises:
            NoRoom: at the first one that does not fit; what is before it stays as it was found.
        """
        for node in self._order[0 if start is None else self._at[start] :]:
            self.found[node.name] = self._of(node)

    def changed(self, name: str) -> None:
        """After the bits of a node, where all had room.

        Raises:
            NoRoom: at the first one that does not fit now; all exponents stay as they were.
        """
        before: dict[str, int] = {}
        waiting = sorted({self._at[name], *self._bits_of.get(name, ())})
        while waiting:
            i = heapq.heappop(waiting)
            node = self._order[i]
            try:
                exponent = self._of(node)
            except NoRoom:
                self.found |= before
                raise
            if exponent != self.found[node.name]:
                before.setdefault(node.name, self.found[node.name])
                self.found[node.name] = exponent
                for reader in self._readers[i]:
                    if reader not in waiting:
                        heapq.heappush(waiting, reader)

    def _of(self, node: Node) -> int:
        given = [self.found[name] for name in node.inputs]
        return PLANNED[node.op].exponent(self.nodes, node, given, self.margins)


def untruncated(nodes: Nodes, names: Iterable[str]) -> Iterator[Node]:
    """``names`` and what they are computed from since the last truncations, each once, the nearest first."""
    waiting, seen = deque(names), set()
    while waiting:
        node = nodes[waiting.popleft()]
        if node.name not in seen and not PLANNED[node.op].truncates:
            seen.add(node.name)
            waiting += node.inputs
            yield node
