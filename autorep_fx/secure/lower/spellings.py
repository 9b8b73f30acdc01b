"""What is written in several operations, or by an attribute, in the one way that has a lowering."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

_EMPTY: dict[Any, Any] = {torch.empty_like: torch.zeros_like, torch.empty: torch.zeros, "new_empty": "new_zeros"}
_DIVISIONS = (operator.truediv, torch.div, torch.divide, torch.true_divide, "div", "divide", "true_divide")
_DIFFERENCES = (operator.sub, torch.sub, torch.subtract, "sub", "subtract")


def in_one_spelling(gm: fx.GraphModule) -> fx.GraphModule:
    """A graph in eval mode, which is changed::

        x.mT                                              torch.transpose(x, -2, -1)
        torch.empty_like(x)                               torch.zeros_like(x)
        e = exp(x - x.amax(1, keepdim=True))
        e / e.sum(1, keepdim=True)                        torch.softmax(x, 1)

    What is empty is written before it is read, so that zeros do as well.
    """
    for node in list(gm.graph.nodes):
        if node.target is getattr and node.args[1] in ("mT", "mH"):
            node.target, node.args = torch.transpose, (node.args[0], -2, -1)
        elif node.target in _EMPTY:
            node.target = _EMPTY[node.target]
        elif node.target in _DIVISIONS:
            _write_softmax(gm.graph, node)
    gm.recompile()
    return gm


def _write_softmax(graph: fx.Graph, node: fx.Node) -> None:
    if len(node.args) != 2 or node.kwargs:
        return
    powers, total = node.args
    if not isinstance(powers, fx.Node) or powers.target not in (torch.exp, "exp") or len(powers.args) != 1:
        return
    dim = _along(total, ("sum",), powers)
    if dim is None or {*powers.users} != {node, total} or {*total.users} != {node}:
        return
    scores = powers.args[0]
    if scores.target in _DIFFERENCES and len(scores.args) == 2 and not scores.kwargs:
        x, largest = scores.args
        if largest is not x and _is_maximum(largest, x, dim):
            scores = x
    node.op, node.target, node.args = "call_function", torch.softmax, (scores, dim)


def _is_maximum(node: Any, x: fx.Node, dim: int) -> bool:
    while isinstance(node, fx.Node) and node.target == "detach":
        node = node.args[0]
    if not isinstance(node, fx.Node):
        return False
    if node.target is operator.getitem and node.args[1] == 0 or node.target is getattr and node.args[1] == "values":
        return _along(node.args[0], ("max",), x) == dim
    return _along(node, ("amax",), x) == dim


def _along(node: Any, names: tuple[str, ...], x: fx.Node) -> int | None:
    """The axis of ``x.sum(dim, keepdim=True)``, by a method or a function of this name; None of anything else."""
    if not isinstance(node, fx.Node) or getattr(node.target, "__name__", node.target) not in names:
        return None
    given = {**dict(zip(("input", "dim", "keepdim"), node.args)), **node.kwargs}
    dim = given.get("dim")
    dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
    return dim if given.get("input") is x and given.get("keepdim") is True and isinstance(dim, int) else None
