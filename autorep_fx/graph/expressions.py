"""Activations that a model spells by arithmetic, recognised by what they compute.

``x * torch.sigmoid(x)``, ``x * F.relu6(x + 3) / 6``, ``torch.where(x > 0, x, 0)``, GELU by erf or tanh: a piece of
the graph that is element-wise and reads one tensor is run on numbers in float64 and compared with the known kinds, near
zero and far from it. The site keeps the piece itself, so it computes the very operations that the author chose.
"""

from __future__ import annotations

import copy
import functools
import math
import operator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..text import brief
from .activations import Activation, Expression
from .functions import KeptFunction
from .inplace import AUGMENTED, memory_owners, says_inplace_by_position, writes_in_place
from .targets import module_of, path_of

#: Nodes of one expression, at most; how far a known kind may be off, in proportion from 1 on: constants are written
#: with eight digits or so.
_MOST, _SAME = 16, 1e-6

_ELEMENT_WISE = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow, operator.abs, operator.gt,
    operator.ge, operator.lt, operator.le, torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow, torch.abs,
    torch.square, torch.exp, torch.erf, torch.tanh, torch.sigmoid, torch.relu, torch.clamp, torch.where, torch.maximum,
    torch.minimum, torch.max, torch.min, torch.zeros_like, torch.ones_like, torch.log1p, torch.log, torch.special.erf,
    F.relu, F.relu6, F.sigmoid, F.hardsigmoid, F.tanh, F.softplus, F.hardtanh, F.logsigmoid,
}  # fmt: skip
#: What is in place, and the same out of place.
_FRESH: dict[Any, Any] = {
    **AUGMENTED, F.relu_: F.relu, F.hardtanh_: F.hardtanh, torch.relu_: torch.relu, torch.clamp_: torch.clamp,
    torch.sigmoid_: torch.sigmoid, torch.tanh_: torch.tanh,
}  # fmt: skip
_METHODS = {"add", "sub", "mul", "div", "neg", "pow", "abs", "square", "exp", "erf", "tanh", "sigmoid", "relu", "clamp",
            "clamp_min", "log", "where", "maximum", "minimum", "gt", "ge", "lt", "le", "float",
            "new_zeros"}  # fmt: skip
_MODULES: tuple[type[nn.Module], ...] = (
    nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.ReLU, nn.ReLU6, nn.Softplus, nn.Hardtanh, nn.Identity, nn.SiLU,
    nn.LeakyReLU, KeptFunction,
)  # fmt: skip

#: A clip at 50 is no part of ReLU: the grid reaches as far as a float32 network might.
_FAR = torch.logspace(math.log10(30), 8, 4001, dtype=torch.float64)
_GRID = torch.cat(
    [
        torch.linspace(-30, 30, 601, dtype=torch.float64),
        torch.linspace(-8, 8, 1601, dtype=torch.float64),
        _FAR,
        -_FAR,
    ]
)
_NEAR = _GRID.abs() <= 30

#: Most pieces are told apart from all kinds on a few of these, the first among them.
_SOME = slice(None, None, 97)
_FEW = _GRID[_SOME].clone()

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
        inplace: whether the piece writes its result into what it reads; the site does not.
        source: the node that it reads.
        inner: the nodes before the last one, which go; latest first.
    """

    activation: Activation
    inplace: bool
    source: fx.Node
    inner: tuple[fx.Node, ...] = ()

    def __repr__(self) -> str:
        return brief(self)


def find(gm: fx.GraphModule, nodes: set[fx.Node], depends: set[fx.Node]) -> dict[fx.Node, Found]:
    """The expressions of a graph that end in one of ``nodes``, by their last node; none shares a node with another.

    depends: the nodes that depend on the input.
    """
    search = _Search(gm, depends)
    found: dict[fx.Node, Found] = {}
    taken: set[fx.Node] = set()
    for node in reversed(gm.graph.nodes):
        if node in nodes and node not in taken and _is_element_wise(gm, node):
            match = search.ending_in(node)
            if match is not None and taken.isdisjoint(match.inner):
                found[node] = match
                taken.update(match.inner)
    return found


class _Search:
    def __init__(self, gm: fx.GraphModule, depends: set[fx.Node]):
        self.gm, self.depends = gm, depends
        self.order = {n: i for i, n in enumerate(gm.graph.nodes)}
        self.owner = memory_owners(gm)
        self.modules: dict[fx.Node, nn.Module] = {}

    def ending_in(self, node: fx.Node) -> Found | None:
        piece = [node]
        while len(piece) <= _MOST:
            outside = {n for inner in piece for n in inner.all_input_nodes if n in self.depends} - {*piece}
            if not outside:
                return None
            if len(outside) == 1:
                (source,) = outside
                activation = self._activation(piece, source)
                if activation is not None and not self._overwritten(piece, source):
                    inplace = self.owner[node] is self.owner[source]
                    return Found(activation, inplace, source, tuple(piece[1:]))
            # The latest one: what is left over reads only what is before it.
            following = max(outside, key=self.order.__getitem__)
            if not _is_element_wise(self.gm, following) or not {*following.users} <= {*piece}:
                return None
            piece.append(following)
        return None

    def _overwritten(self, piece: list[fx.Node], source: fx.Node) -> bool:
        """Whether some value of the piece is overwritten before the piece has read it: a graph of its own, without
        operations in place, would then compute something else."""
        order, owner, first, last = self.order, self.owner, self.order[piece[-1]], self.order[piece[0]]
        for writer in self.gm.graph.nodes:
            if not first <= order[writer] <= last or not writes_in_place(self.gm, writer):
                continue
            memory = owner[writer]
            if memory is owner[source] and writer is not piece[0]:
                return True
            for value in piece:
                late = any(order[user] > order[writer] for user in value.users)
                if owner[value] is memory and order[value] < order[writer] and late:
                    return True
        return False

    def _activation(self, piece: list[fx.Node], source: fx.Node) -> Activation | None:
        piece = sorted(piece, key=self.order.__getitem__)
        if not all(n is source or n in piece or _is_number(self.gm, n) for p in piece for n in p.all_input_nodes):
            return None  # it holds a parameter, or more than numbers
        try:
            with torch.no_grad():
                kind = _kind(self._computed(piece, source, _FEW)) and _kind(self._computed(piece, source, _GRID))
        except Exception:  # of this piece alone nothing can be said
            return None
        return kind and Expression(kind[0], _extract(self.gm, piece, source), **kind[1])

    def _computed(self, piece: list[fx.Node], source: fx.Node, x: Tensor) -> Any:
        """What a piece makes of numbers in float64; as :func:`_extract` has it, without a module to be made for it."""
        values: dict[fx.Node, Any] = {source: x.clone()}

        def value(node: fx.Node) -> Any:
            if node not in values:
                values[node] = _attribute(self.gm, path_of(node)).detach().double()
            return values[node]

        for node in piece:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), value)
            if node.op == "call_module":
                values[node] = self._alone(node)(*args, **kwargs)
            elif node.op == "call_method":
                first, *others = args
                values[node] = getattr(first, path_of(node).removesuffix("_"))(*others, **kwargs)
            else:
                args = args[:-1] if says_inplace_by_position(node) else args
                kwargs = {k: v for k, v in kwargs.items() if k != "inplace"} if kwargs.get("inplace") else kwargs
                values[node] = _FRESH.get(node.target, node.target)(*args, **kwargs)
        return values[piece[-1]]

    def _alone(self, node: fx.Node) -> nn.Module:
        """A module in float64, out of place."""
        if node not in self.modules:
            self.modules[node] = copy.deepcopy(_out_of_place(module_of(self.gm, node))).double()
        return self.modules[node]


def _kind(y: Any) -> tuple[str, dict[str, Any]] | None:
    """The kind that has these values on as many of the numbers of the grid; None where there is none."""
    if not isinstance(y, Tensor) or y.dtype != torch.float64 or y.shape not in (_GRID.shape, _FEW.shape):
        return None
    few = y.shape == _FEW.shape
    if not y[_NEAR[_SOME] if few else _NEAR].isfinite().all():
        return None
    compared = y.isfinite()  # far off, what overflows in the author's spelling may be a number in ours
    slope = float(y[0] / _GRID[0])
    leaky: list[tuple[str, dict[str, Any]]] = []
    if 0 < abs(slope) < 1:
        leaky = [("leaky_relu", {"negative_slope": round(slope, 9)})]
    known = _values_of_kinds(few)
    if leaky:
        values = [Activation(kind, **params)(_FEW if few else _GRID) for kind, params in leaky]
        known = torch.cat([known, torch.stack(values)])
    off = ((known - y).abs() / y.abs().clamp(min=1))[:, compared].amax(1)
    same = (off < _SAME).nonzero().flatten()
    return [*_KINDS, *leaky][int(same[0])] if len(same) else None


@functools.cache
def _values_of_kinds(few: bool) -> Tensor:
    """A row for each."""
    found = torch.stack([Activation(kind, **params)(_GRID) for kind, params in _KINDS])
    return found[:, _SOME].clone() if few else found


def _extract(gm: fx.GraphModule, piece: list[fx.Node], source: fx.Node) -> fx.GraphModule:
    """The piece, which reads numbers and ``source`` alone, as a module of its own, nothing in place."""
    graph, root = fx.Graph(), nn.Module()
    twins: dict[fx.Node, fx.Node] = {source: graph.placeholder("x")}

    def twin(node: fx.Node) -> fx.Node:
        if node not in twins:  # a number in a tensor
            name = f"constant{len(twins)}"
            root.register_buffer(name, _attribute(gm, path_of(node)).detach().clone(), persistent=False)
            twins[node] = graph.get_attr(name)
        return twins[node]

    for node in piece:
        if node.op == "call_module":
            name = f"module{len(twins)}"
            root.add_module(name, _out_of_place(module_of(gm, node)))
            args = fx.node.map_arg((node.args, node.kwargs), twin)
            twins[node] = graph.call_module(name, *args)
        else:
            twins[node] = graph.node_copy(node, twin)
            _make_fresh(twins[node])
    graph.output(twins[piece[-1]])
    return fx.GraphModule(root, graph)


def _out_of_place(module: Any) -> Any:
    """The module, or a copy that shares its weights, without ``inplace``."""
    if getattr(module, "inplace", False):
        module = copy.copy(module)
        module.inplace = False
    return module


def _make_fresh(node: fx.Node) -> None:
    """The same operation out of place."""
    if node.op == "call_method":
        node.target = path_of(node).removesuffix("_")
    else:
        if says_inplace_by_position(node):
            node.args = node.args[:-1]
        node.target = _FRESH.get(node.target, node.target)
        if node.kwargs.get("inplace"):
            node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}


def _attribute(gm: fx.GraphModule, path: str) -> Any:
    value: Any = gm
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _is_number(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "get_attr":
        return False
    value = _attribute(gm, path_of(node))
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.numel() == 1


def _is_element_wise(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function":
        return _FRESH.get(node.target, node.target) in _ELEMENT_WISE
    if node.op == "call_method":
        return path_of(node).removesuffix("_") in _METHODS
    return node.op == "call_module" and type(module_of(gm, node)) in _MODULES
