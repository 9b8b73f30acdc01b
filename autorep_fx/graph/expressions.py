"""Activations that a model spells by arithmetic, recognised by what they compute.

``x * torch.sigmoid(x)``, ``x * F.relu6(x + 3) / 6``, ``torch.where(x > 0, x, 0)``, GELU by erf or tanh: a piece of the
graph that is element-wise and reads one tensor is run on numbers in float64 and compared with the known kinds. The site
keeps the piece itself, so it computes the very operations that the author chose.
"""

from __future__ import annotations

import copy
import operator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .activations import Activation, Expression
from .inplace import writes_in_place

#: Nodes of one expression, at most; how far a known kind may be off: constants are written with eight digits or so.
_MOST, _SAME = 16, 1e-6

_ELEMENT_WISE = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow, operator.abs, operator.gt,
    operator.ge, operator.lt, operator.le, torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow, torch.abs,
    torch.square, torch.exp, torch.erf, torch.tanh, torch.sigmoid, torch.relu, torch.clamp, torch.where, torch.maximum,
    torch.minimum, torch.max, torch.min, torch.zeros_like, torch.ones_like, torch.log1p, torch.special.erf, F.relu,
    F.relu6, F.sigmoid, F.hardsigmoid, F.tanh, F.softplus, F.hardtanh, F.logsigmoid,
}  # fmt: skip
_METHODS = {"add", "sub", "mul", "div", "neg", "pow", "abs", "square", "exp", "erf", "tanh", "sigmoid", "relu", "clamp",
            "clamp_min", "where", "maximum", "minimum", "gt", "ge", "lt", "le", "float", "new_zeros"}  # fmt: skip
_MODULES = (nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.ReLU, nn.ReLU6, nn.Softplus, nn.Hardtanh, nn.Identity)

_GRID = torch.cat([torch.linspace(-30, 30, 601, dtype=torch.float64), torch.linspace(-8, 8, 1601, dtype=torch.float64)])

_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("relu", {}),
    ("relu6", {}),
    ("silu", {}),
    ("hardswish", {}),
    ("hardsigmoid", {}),
    ("gelu", {"approximate": "none"}),
    ("gelu", {"approximate": "tanh"}),
    ("mish", {}),
    ("softplus", {"beta": 1.0, "threshold": 20.0}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("elu", {"alpha": 1.0}),
)


class Found(NamedTuple):
    """An expression that is an activation.

    Attributes:
        activation: the site's module.
        source: the node that it reads.
        inner: the nodes before the last one, which go.
    """

    activation: Activation
    source: fx.Node
    inner: list[fx.Node]


def find(gm: fx.GraphModule, nodes: set[fx.Node], depends: set[fx.Node]) -> dict[fx.Node, Found]:
    """The expressions of a graph that end in one of ``nodes``, by their last node; none shares a node with another.

    depends: the nodes that depend on the input.
    """
    found: dict[fx.Node, Found] = {}
    taken: set[fx.Node] = set()
    for node in reversed(gm.graph.nodes):
        if node in nodes and node not in taken and _is_element_wise(gm, node):
            match = _match(gm, node, depends)
            if match is not None and taken.isdisjoint(match.inner):
                found[node] = match
                taken.update(match.inner)
    return found


def _match(gm: fx.GraphModule, node: fx.Node, depends: set[fx.Node]) -> Found | None:
    order = {n: i for i, n in enumerate(gm.graph.nodes)}
    piece = [node]
    while len(piece) <= _MOST:
        outside = {n for inner in piece for n in inner.all_input_nodes if n in depends} - {*piece}
        if len(outside) == 1:
            (source,) = outside
            activation = _activation(gm, piece, source)
            if activation is not None and not _overwritten(gm, source, [order[n] for n in piece], order):
                return Found(activation, source, [n for n in piece if n is not node])
        if not outside:
            return None
        # The latest one: what is left over reads only what is before it.
        following = max(outside, key=order.__getitem__)
        if not _is_element_wise(gm, following) or not {*following.users} <= {*piece}:
            return None
        piece.append(following)
    return None


def _overwritten(gm: fx.GraphModule, source: fx.Node, at: list[int], order: dict[fx.Node, int]) -> bool:
    """Whether something writes into what the piece reads, between its first node and its last."""
    return any(min(at) < order[user] < max(at) and writes_in_place(gm, user) for user in source.users)


def _activation(gm: fx.GraphModule, piece: list[fx.Node], source: fx.Node) -> Activation | None:
    body = _extract(gm, piece, source)
    if body is None:
        return None
    try:
        with torch.no_grad():
            y = copy.deepcopy(body).double()(_GRID.clone())
    except Exception:  # of this piece alone nothing can be said
        return None
    if not isinstance(y, Tensor) or y.shape != _GRID.shape or y.dtype != torch.float64:
        return None
    for kind, params in _known(y):
        if (Activation(kind, **params)(_GRID) - y).abs().max() < _SAME:
            return Expression(kind, body, **params)
    return None


def _known(y: Tensor) -> list[tuple[str, dict[str, Any]]]:
    slope = float(y[0] / _GRID[0])
    leaky = [("leaky_relu", {"negative_slope": round(slope, 9)})] if 0 < abs(slope) < 1 else []
    return [*_KINDS, *leaky]


def _extract(gm: fx.GraphModule, piece: list[fx.Node], source: fx.Node) -> fx.GraphModule | None:
    """The piece as a module of its own; None where it holds a parameter, or more than numbers."""
    order = {n: i for i, n in enumerate(gm.graph.nodes)}
    graph, root = fx.Graph(), nn.Module()
    twins: dict[fx.Node, fx.Node] = {source: graph.placeholder("x")}

    def twin(node: fx.Node) -> fx.Node:
        if node not in twins:  # a number in a tensor
            value = gm
            for part in node.target.split("."):
                value = getattr(value, part)
            name = f"constant{len(twins)}"
            root.register_buffer(name, value.detach().clone(), persistent=False)
            twins[node] = graph.get_attr(name)
        return twins[node]

    for node in sorted(piece, key=order.__getitem__):
        for other in node.all_input_nodes:
            if other not in twins and not _is_number(gm, other):
                return None
        if node.op == "call_module":
            name = f"module{len(twins)}"
            root.add_module(name, gm.get_submodule(node.target))
            args = fx.node.map_arg((node.args, node.kwargs), twin)
            twins[node] = graph.call_module(name, *args)
        else:
            twins[node] = graph.node_copy(node, twin)
    graph.output(twins[piece[0]])
    return fx.GraphModule(root, graph)


def _is_number(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "get_attr":
        return False
    value = gm
    for part in node.target.split("."):
        value = getattr(value, part)
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.numel() == 1


def _is_element_wise(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target in _ELEMENT_WISE and not node.kwargs.get("inplace", False)
    if node.op == "call_method":
        return node.target in _METHODS
    if node.op != "call_module":
        return False
    module = gm.get_submodule(node.target)
    return type(module) in _MODULES and not getattr(module, "inplace", False)
