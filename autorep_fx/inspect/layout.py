"""Where the nodes of a graph go in a drawing: rows from top to bottom, a spine, and branches beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..text import brief

if TYPE_CHECKING:
    import networkx as nx

#: Longest label of a box, in characters.
_LABEL = 32


@dataclass
class Box:
    """What is drawn as one: a site, a join, or a chain of nodes that nothing else reads from.

    ``column`` 0 is the spine, a longest path through the graph. ``lane`` is where the line to readers further down
    runs, between the spine and the branches; None for a box whose only readers are in the next row, and for branches,
    whose lines run down their own column.
    """

    nodes: list[str]
    row: int = 0
    column: int = 0
    lane: int | None = None


@dataclass
class Layout:
    """Boxes in run order, the lines between them (as indices), and the extent of the drawing."""

    boxes: list[Box]
    lines: list[tuple[int, int]]
    rows: int
    columns: int
    lanes: int

    __repr__ = brief


def arrange(graph: nx.DiGraph) -> Layout:
    """Lay out a graph whose nodes are in topological order, as those of a traced model are."""
    boxes, lines = _chains(graph)
    sources: list[list[int]] = [[] for _ in boxes]
    readers: list[list[int]] = [[] for _ in boxes]
    for a, b in lines:
        sources[b].append(a)
        readers[a].append(b)

    for i, box in enumerate(boxes):  # longest path from the top
        box.row = max((boxes[s].row + 1 for s in sources[i]), default=0)
    spine = _spine(boxes, sources)
    for i in reversed(range(len(boxes))):  # constants and second inputs stand just above their first reader
        if not sources[i] and i not in spine and readers[i]:
            boxes[i].row = max(0, min(boxes[r].row for r in readers[i]) - 1)

    last = [max((boxes[r].row for r in readers[i]), default=box.row) for i, box in enumerate(boxes)]
    lanes: list[list[tuple[int, int]]] = []
    columns: list[list[tuple[int, int]]] = []
    for i, box in enumerate(boxes):
        if i in spine:
            if last[i] > box.row + 1:
                box.lane = _place(lanes, box.row, last[i])
        else:
            wanted = [boxes[s].column - 1 for s in sources[i] if boxes[s].column]
            box.column = 1 + _place(columns, box.row, max(box.row + 1, last[i]), wanted)
    rows = 1 + max((box.row for box in boxes), default=0)
    return Layout(boxes, lines, rows, 1 + len(columns), len(lanes))


def _chains(graph: nx.DiGraph) -> tuple[list[Box], list[tuple[int, int]]]:
    boxes: list[Box] = []
    owner: dict[str, int] = {}
    for node in graph:
        box = _chain_before(graph, node, boxes, owner)
        if box is not None:
            owner[node] = box
            boxes[box].nodes.append(node)
        else:
            owner[node] = len(boxes)
            boxes.append(Box([node]))
    lines = dict.fromkeys((owner[a], owner[b]) for a, b in graph.edges if owner[a] != owner[b])
    return boxes, list(lines)


def _chain_before(graph: nx.DiGraph, node: str, boxes: list[Box], owner: dict[str, int]) -> int | None:
    """The box that ``node`` continues: what comes before is read by it alone, and the label stays short."""
    before = list(graph.predecessors(node))
    if len(before) != 1 or graph.out_degree(before[0]) != 1:
        return None
    if not (_is_plain(graph, node) and _is_plain(graph, before[0])):
        return None
    chain = boxes[owner[before[0]]].nodes
    long = sum(len(graph.nodes[n]["label"]) + 3 for n in (*chain, node)) > _LABEL
    return None if long else owner[before[0]]


def _is_plain(graph: nx.DiGraph, node: str) -> bool:
    attributes = graph.nodes[node]
    calls = attributes["op"].startswith("call")
    return calls and "site" not in attributes and graph.in_degree(node) == 1


def _spine(boxes: list[Box], sources: list[list[int]]) -> set[int]:
    """A longest path, walked back from the last box; of equal ones that which runs first."""
    if not boxes:
        return set()
    i = max(range(len(boxes)), key=lambda i: (boxes[i].row, i))
    spine = {i}
    while sources[i]:
        i = max(sources[i], key=lambda s: (boxes[s].row, -s))
        spine.add(i)
    return spine


def _place(tracks: list[list[tuple[int, int]]], first: int, last: int, wanted: Sequence[int] = ()) -> int:
    """The first track that is free over rows ``first`` to ``last``; those of ``wanted`` before others."""
    for i in (*wanted, *range(len(tracks))):
        if all(last <= a or b <= first for a, b in tracks[i]):
            tracks[i].append((first, last))
            return i
    tracks.append([(first, last)])
    return len(tracks) - 1
