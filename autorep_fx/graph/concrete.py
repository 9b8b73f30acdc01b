"""Tracing with an example at hand: sizes are numbers, but for that of the batch.

A path that depends on the input's shape alone (padding computed in forward, ``if x.shape[-1] < 32``) is no obstacle
then, and what comes out holds for this shape only, which :class:`HoldsFor` sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from ..errors import TraceError
from .activations import Leaf
from .recorded import Recorded
from .several import Batch, parts_of
from .targets import module_of, path_of


class HoldsFor(Leaf):
    """The input, if its samples have the shape that the graph was traced for.

    Raises:
        ValueError: another shape.
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this graph holds for inputs (N, {', '.join(map(str, self.shape))}), on whose shape its path depends, "
                f"and got {tuple(x.shape)}; transform the model again with example_inputs of that shape"
            )
        return x

    def extra_repr(self) -> str:
        return f"(N, {', '.join(map(str, self.shape))})"


def shape_held(gm: fx.GraphModule) -> tuple[int, ...] | None:
    """That of the first input; None for a graph that holds for any."""
    return next(iter(shapes_held(gm)), None)


def shapes_held(gm: fx.GraphModule) -> list[tuple[int, ...]]:
    """The shape of samples of each input that a graph holds for; none for one that holds for any."""
    return [m.shape for m in gm.modules() if isinstance(m, HoldsFor)]


def guard(gm: fx.GraphModule, shapes: Sequence[tuple[int, ...]]) -> None:
    """Make ``gm`` refuse inputs of other shapes, each of its own::

    before:  conv = call_module[conv](x)        after:  holds_for = call_module[holds_for](x)
                                                        conv = call_module[conv](holds_for)
    """
    for x, shape in zip([node for node in gm.graph.nodes if node.op == "placeholder"], shapes):
        _guard(gm, x, shape)


def _guard(gm: fx.GraphModule, x: fx.Node, shape: tuple[int, ...]) -> None:
    name = "holds_for"
    while hasattr(gm, name):
        name += "_"
    gm.add_submodule(name, HoldsFor(shape))
    with gm.graph.inserting_after(x):
        held = gm.graph.call_module(name, (x,))
    x.replace_all_uses_with(held, delete_user_cb=lambda user: user is not held)


class Counted(fx.Proxy):
    """Something of the trace of which an example tells how many parts it has: ``list(x.chunk(2, 1))``."""

    tracer: Any  # that of trace.py, which has values

    def __len__(self) -> int:
        return len(self.tracer.values[self.node])


class Placed(fx.Proxy):
    """The device of a tensor of the trace, a node, of which the kind is known."""

    tracer: Any

    @property
    def type(self) -> str:
        return self.tracer.values[self.node].type


class Shaped(Counted, Recorded):
    """A tensor of the trace whose sizes are known: the first, the batch's, as a node, the others as numbers."""

    @property
    def shape(self) -> tuple:
        _, *sizes = self.tracer.values[self.node].shape
        return (fx.Proxy(self.tracer.create_node("call_method", "size", (self.node, 0), {}), self.tracer), *sizes)

    @property
    def ndim(self) -> int:
        return self.tracer.values[self.node].dim()

    @property
    def dtype(self) -> torch.dtype:
        return self.tracer.values[self.node].dtype

    @property
    def device(self) -> Placed:
        node = self.tracer.create_node("call_function", getattr, (self.node, "device"), {})
        self.tracer.values.add(node)
        self.tracer.values.asked.add(node)
        return Placed(node, self.tracer)

    def dim(self) -> int:
        return self.ndim

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def __int__(self) -> int:
        return int(self.tracer.values.constant(self.node))

    def __index__(self) -> int:
        return self.tracer.values.constant(self.node).__index__()

    def size(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        dim %= self.ndim
        return self.shape[0] if dim == 0 else self.tracer.values[self.node].shape[dim]


#: What tells the type of a tensor, which no value changes.
_OF_THE_TYPE = (torch.is_floating_point, torch.is_complex, "is_floating_point", "is_complex")


def _sources(node: fx.Node) -> set[fx.Node]:
    """Every node that a node depends on."""
    found: set[fx.Node] = set()
    waiting = [*node.all_input_nodes]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += each.all_input_nodes
    return found


class Values:
    """Runs every node of a trace on an example, on a copy of the model, as soon as it is there.

    The generators are left as they were: what a model itself draws while it is traced is refused, this is none of it.
    """

    def __init__(self, twin: nn.Module, x: Batch, traced: nn.Module):
        self.twin, self.x = twin, parts_of(x)
        self.traced = traced  # gets constants that forward() makes
        self.found: dict[fx.Node, Any] = {}
        self.running = False  # what is called now is no part of the trace
        self.looked_at: dict[str, Tensor] = {}  # buffers that a path depends on, as they are
        self.asked: set[fx.Node] = set()  # what the path was told, and what that was computed from

    def __getitem__(self, node: fx.Node) -> Any:
        return self.found[node]

    def is_constant(self, node: fx.Node) -> bool:
        """Whether a value depends on no input and no weight: a type, or what is computed from buffers of integers."""
        if node.target in _OF_THE_TYPE:
            return True
        if node.op == "get_attr":
            value = self._attribute(path_of(node))
            whole = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())
            return whole and not isinstance(value, nn.Parameter)
        sources = node.all_input_nodes  # what has none may be drawn
        return node.op in ("call_function", "call_method") and bool(sources) and all(map(self.is_constant, sources))

    def constant(self, node: fx.Node) -> Any:
        """The value of a node that :meth:`is_constant`.

        Raises:
            TraceError: it is none.
        """
        if not self.is_constant(node):
            raise TraceError(f"'{node.name}' is a number for the path, and depends on the input or on a weight")
        for source in {node, *_sources(node)}:
            self.asked.add(source)
            if source.op == "get_attr":
                path = path_of(source)
                self.looked_at.setdefault(path, self._attribute(path).clone())
        return self.found[node]

    def settle(self, graph: fx.Graph) -> None:
        """Nodes that the path alone read are gone from the graph, and what it depends on must stay what it is.

        Raises:
            TraceError: forward() writes into a buffer that it looks at.
        """
        for path, before in self.looked_at.items():
            if not torch.equal(self._attribute(path), before):
                raise TraceError(f"forward() looks at the buffer '{path}' to choose its path, and changes it")
        for node in reversed(graph.nodes):
            if node in self.asked and not node.users and node.op != "placeholder":
                graph.erase_node(node)

    @torch.no_grad()
    def add(self, node: fx.Node) -> Any:
        """The value of a node whose inputs have theirs."""
        state, self.running = torch.get_rng_state(), True
        try:
            self.found[node] = self._run(node)
        finally:
            self.running = False
            torch.set_rng_state(state)
        return self.found[node]

    def _run(self, node: fx.Node) -> Any:
        args, kwargs = map_arg((node.args, node.kwargs), self._value)
        if node.op == "placeholder":
            before = sum(n.op == "placeholder" for n in self.found)
            return self.x[before].clone() if before < len(self.x) else args[0] if args else None
        if node.op == "get_attr":
            return self._attribute(path_of(node))
        if node.op == "call_module":
            return module_of(self.twin, node)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], path_of(node))(*args[1:], **kwargs)
        function: Any = node.target
        return function(*args, **kwargs)

    def _value(self, node: fx.Node) -> Any:
        return self.found[node] if node in self.found else self._run(node)

    def _attribute(self, path: str) -> Any:
        value: Any = self.twin if hasattr(self.twin, path.partition(".")[0]) else self.traced
        for part in path.split("."):
            value = getattr(value, part)
        return value
