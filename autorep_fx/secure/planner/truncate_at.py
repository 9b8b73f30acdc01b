"""Where several products follow one another and find no room: a truncation between them, or behind a spline or a
product of two private tensors, whose results are as long as those of several products."""

from __future__ import annotations

from dataclasses import replace

from ..plan.ring import WIDTHS
from .exponents import untruncated
from .names import CUT, PUT
from .node import Node, whole_bits
from .table import PLANNED


def places_to_cut(nodes: dict[str, Node], sink: Node) -> list[str]:
    """Values up to ``sink`` that follow a product and go into another, with no truncation between; nearest first."""
    found: dict[str, None] = {}
    for node in untruncated(nodes, _from(sink)):
        if _multiplies(node):
            for name in node.inputs:
                before = _named(nodes, name)
                if before is not None and _follows_product(nodes, before):
                    found[before] = None
    return list(found)


def long_results(nodes: dict[str, Node], sink: Node) -> list[str]:
    """Results of splines and of products from which ``sink`` is computed with no truncation between; nearest first."""
    before = list(untruncated(nodes, sink.inputs))
    given = dict.fromkeys([*sink.inputs, *(name for node in before for name in node.inputs)])
    return [name for name in given if nodes[name].result is not None]


def travels_in_part(nodes: dict[str, Node], name: str) -> bool:
    """Whether this is the result of a site of which only some positions travel."""
    return name + PUT in nodes


def _from(sink: Node) -> list[str]:
    return list(sink.inputs) if sink.masked else [sink.name]


def _named(nodes: dict[str, Node], name: str) -> str | None:
    """The nearest value at or above whose reach is known."""
    while nodes[name].reach is None:
        if len(nodes[name].inputs) != 1:
            return None
        name = nodes[name].inputs[0]
    return None if PLANNED[nodes[name].op].truncates else name


def _multiplies(node: Node) -> bool:
    """A map, or a public factor that is no short integer (an average over nine): both add to the exponent."""
    return PLANNED[node.op].multiplies or "real" in node.attrs


def _follows_product(nodes: dict[str, Node], name: str) -> bool:
    node = nodes[name]
    if PLANNED[node.op].truncates:
        return False
    return _multiplies(node) or any(_follows_product(nodes, i) for i in node.inputs)


def cut(nodes: dict[str, Node], place: str) -> dict[str, Node]:
    """The nodes with ``place`` truncated for all of its readers; those that are given stay as they are."""
    result: dict[str, Node] = {}
    name = place + CUT
    for node in nodes.values():
        reads = place in node.inputs
        result[node.name] = replace(node, inputs=[name if i == place else i for i in node.inputs]) if reads else node
        if node.name == place:
            most = max(n.most for n in nodes.values() if PLANNED[n.op].truncates)
            reach, extreme = node.reach, node.extreme
            if node.result is not None:
                reach, extreme = node.result, node.extreme_result
                result[place] = replace(result[place], result=None)
            result[name] = Node(name, "activation", [place], node.shape, bits=0, most=most, scale=whole_bits(reach),
                                gain=node.below, reach=reach, extreme=extreme, wire=min(WIDTHS))  # fmt: skip
    return result
