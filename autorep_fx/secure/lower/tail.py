"""The tail of a graph (graph/tail.py) as steps that the client runs (program/tail/)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from ...graph.tail import MOVES, PARTS
from ..program.shapes import MOST, Shape
from ..program.tail.step import TailStep
from .call import Call, Unsupported

#: A value of the tail, or the values of what returns several.
Names = str | tuple[str, ...]


class Known(Protocol):
    """What is known of a graph (lowering.py)."""

    values: dict[fx.Node, Any]

    def sample_shape(self, node: fx.Node) -> Shape: ...
    def part_shape(self, node: fx.Node, part: int) -> Shape: ...
    def call(self, node: fx.Node, takes_sizes: bool) -> Call: ...
    def places(self, node: fx.Node, source: fx.Node) -> Any: ...


class Tail:
    """State of the lowering of one tail.

    Args:
        low: the graph.
        opened: where the values of a node begin in what the client learns of a sample, and their shape.
        table: what a node becomes, by its name (tail_table.py).
    """

    def __init__(self, low: Known, opened: Callable[[fx.Node], tuple[int, Shape]],
                 table: Mapping[str, Callable[[Tail, Call], str]]):  # fmt: skip
        self.low, self.opened, self.table = low, opened, table
        self.steps: list[TailStep] = []
        self.shapes: dict[str, Shape] = {}
        self.names: dict[fx.Node, Names] = {}

    def add(self, node: fx.Node) -> None:
        """Append the steps of a node.

        Raises:
            Unsupported: there are none.
        """
        call = self.low.call(node, takes_sizes=True)
        found = self._several(call)
        self.names[node] = self._one(call) if found is None else found

    def value(self, argument: Any) -> str:
        """The name of a tensor that depends on the input."""
        if not isinstance(argument, fx.Node):
            raise Unsupported(f"its input is {type(argument).__name__}, not a tensor of the private input")
        if argument not in self.names:
            start, shape = self.opened(argument)
            self.names[argument] = self._append(f"{argument.name}.opened", "opened", (), shape, start=start)
        name = self.names[argument]
        if not isinstance(name, str):
            raise Unsupported(f"takes all that '{argument.name}' returns; take the parts one by one")
        return name

    def emit(self, call: Call, op: str, inputs: tuple[str, ...], shape: Shape | None = None, suffix: str = "",
             **attrs: Any) -> str:  # fmt: skip
        shape = self.low.sample_shape(call.node) if shape is None else tuple(shape)
        return self._append(call.node.name + suffix, op, inputs, shape, **attrs)

    def _append(self, name: str, op: str, inputs: tuple[str, ...], shape: Shape, **attrs: Any) -> str:
        while name in self.shapes:
            name += "_"
        self.steps.append(TailStep(name, op, inputs, shape, attrs))
        self.shapes[name] = shape
        return name

    def operand(self, call: Call, argument: Any, axes: int) -> str:
        """A value, or a constant with as many axes as the others have."""
        if isinstance(argument, fx.Node):
            name = self.value(argument)
            if len(self.shapes[name]) != axes:
                raise Unsupported("takes tensors with a different number of axes; unsqueeze one, so that batches meet")
            return name
        if isinstance(argument, (bool, int, float)):
            argument = torch.tensor(argument, dtype=None if isinstance(argument, (bool, int)) else torch.float64)
        if not isinstance(argument, Tensor):
            raise Unsupported(f"takes {type(argument).__name__}; a tensor or a number is supported")
        if argument.dim() == axes + 1 and len(argument) == 1:
            argument = argument[0]
        if argument.dim() > axes or argument.numel() > MOST:
            raise Unsupported(f"takes a constant of shape {tuple(argument.shape)} beside samples with {axes} axes")
        argument = argument.reshape((*(1,) * (axes - argument.dim()), *argument.shape))
        return self.constant(call, argument)

    def constant(self, call: Call, value: Tensor) -> str:
        flat = value.detach().cpu().flatten()
        flat = flat.double() if flat.is_floating_point() else flat
        if not torch.isfinite(flat).all():
            raise Unsupported("has a constant that is not finite")
        numbers = flat[:1] if len(flat) and (flat == flat[0]).all() else flat
        values = tuple(n.item() if flat.dtype != torch.bool else int(n) for n in numbers)
        return self.emit(call, "constant", (), tuple(value.shape), ".constant", values=values)

    def axis(self, x: str, dim: Any) -> int:
        """Of the value with its batch.

        Raises:
            Unsupported: none is given, or it is the batch's.
        """
        axes = len(self.shapes[x]) + 1
        if not isinstance(dim, int) or dim % axes == 0:
            raise Unsupported("goes along the batch; give it another dim")
        return dim % axes

    def needed(self, form: Any) -> list[TailStep]:
        """The steps that a form of the output reads, and those that they read."""
        wanted, found = _values(form), []
        for step in reversed(self.steps):
            if step.name in wanted:
                wanted |= {*step.inputs}
                found.append(step)
        return found[::-1]

    # --- the walk ----------------------------------------------------------------------------------------------------

    def _several(self, call: Call) -> tuple[str, ...] | None:
        """The names of the values of what returns several."""
        if not isinstance(self.low.values[call.node], (tuple, list)):
            return None
        name = name_of(call)
        if name in ("chunk", "split", "unbind"):
            return tuple(self._moved(call, f".{i}", i) for i in range(len(self.low.values[call.node])))
        x = self.value(call.get(0, "input"))
        if name in ("max", "min"):
            axis = self.axis(x, call.get(1, "dim"))
            keep = bool(call.get(2, "keepdim", False))
            shape = self.low.part_shape(call.node, 0)
            best, places = ("largest", "argmax") if name == "max" else ("smallest", "argmin")
            return (self.emit(call, best, (x,), shape, ".values", dims=(axis,), keepdim=keep),
                    self.emit(call, places, (x,), shape, ".places", dim=axis, keepdim=keep))  # fmt: skip
        if name == "topk":
            count, dim, largest = call.get(1, "k"), call.get(2, "dim", -1), bool(call.get(3, "largest", True))
        elif name == "sort":
            dim = call.get(1, "dim", -1)
            largest, count = bool(call.get(2, "descending", False)), None
        else:
            raise Unsupported("returns several tensors, and is none of chunk, split, unbind, max, min, topk and sort")
        return tuple(self.best(call, x, count, dim, largest, part) for part in ("values", "places"))

    def best(self, call: Call, x: str, count: int | None, dim: Any, largest: bool, part: str) -> str:
        axis, shape = self.axis(x, dim), list(self.shapes[x])
        shape[axis - 1] = shape[axis - 1] if count is None else count
        return self.emit(call, "topk", (x,), tuple(shape), f".{part}", dim=axis, count=shape[axis - 1], largest=largest,
                         part=part)  # fmt: skip

    def _one(self, call: Call) -> str:
        node = call.node
        parts = self.names.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
        if isinstance(parts, tuple) and node.target in (operator.getitem, getattr):
            return parts[PARTS.get(node.args[1], node.args[1])]
        name = name_of(call)
        if lowering := self.table.get(name):
            return lowering(self, call)
        if node.target in MOVES or type(call.module) in (nn.Flatten, nn.Unflatten, nn.Identity):
            return self._moved(call)
        raise Unsupported(f"the client has no '{name}' behind the run; leave it out of the model")

    def _moved(self, call: Call, suffix: str = "", part: int | None = None) -> str:
        """What only moves elements: places are run through the node in place of values."""
        source = call.get(0, "input")
        x, node = self.value(source), call.node
        before = self.shapes[x]
        shape = self.low.sample_shape(node) if part is None else self.low.part_shape(node, part)
        if name_of(call) == "pad" and call.get(2, "mode", "constant") == "constant" and call.get(3, "value"):
            raise Unsupported("pads with another number than zero; pad with zeros")
        places = self.low.places(node, source)
        places = places if part is None else places[part]
        count = math.prod(before)
        rows = places.reshape(len(places), -1).long() - 1
        if len(rows) != 2 or not torch.equal(rows[1], torch.where(rows[0] < 0, rows[0], rows[0] + count)):
            raise Unsupported("moves values of one sample to another")
        row = rows[0]
        if torch.equal(row, torch.arange(count)):
            return x if shape == before else self.emit(call, "reshape", (x,), shape, suffix)
        if (dims := _order(places, (2, *before))) is not None:
            return self.emit(call, "permute", (x,), shape, suffix, dims=dims)
        index = node.args[1] if node.target is operator.getitem else None
        index = index if isinstance(index, tuple) else (index,)
        if index[0] in (Ellipsis, slice(None)) and all(i in (None, Ellipsis) or type(i) in (int, slice) for i in index):
            if all(type(end) in (int, type(None)) for i in index if type(i) is slice
                   for end in (i.start, i.stop, i.step)):  # fmt: skip
                return self.emit(call, "index", (x,), shape, suffix, index=index)
        if len(shape) == len(before) and _expands(row.reshape(shape), before):
            return self.emit(call, "expand", (x,), shape, suffix)
        if len(row) > MOST:
            raise Unsupported(f"moves {len(row)} elements in no order; {MOST} at most are moved so")
        return self.emit(call, "take", (x,), shape, suffix, places=tuple(row.tolist()))


def _values(form: Any) -> set[str]:
    ((kind, inner),) = form.items()
    if kind == "value":
        return {inner}
    parts = inner.values() if kind == "dict" else inner if kind in ("tuple", "list") else ()
    return {name for part in parts for name in _values(part)}


def _order(places: Tensor, before: Shape) -> tuple[int, ...] | None:
    """The order of the axes, where nothing but that is another one."""
    if places.dim() != len(before) or places.numel() != math.prod(before):
        return None
    strides = torch.empty(before, device="meta").stride()
    left, dims = dict(enumerate(zip(before, strides))), []
    for each in zip(places.shape, places.stride()):
        found = next((axis for axis, own in left.items() if own == each), None)
        if found is None:
            return None
        del left[found]
        dims.append(found)
    turned = torch.arange(1, places.numel() + 1, dtype=places.dtype).reshape(before).permute(dims)
    return tuple(dims) if dims[0] == 0 and torch.equal(turned, places) else None


def _expands(row: Tensor, before: Shape) -> bool:
    if any(n not in (1, to) for n, to in zip(before, row.shape)):
        return False
    return torch.equal(row, torch.arange(math.prod(before)).reshape(before).expand(row.shape))


def name_of(call: Call) -> str:
    """What a node does, in one spelling."""
    node: Any = call.node
    if call.module is not None:
        return type(call.module).__name__
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
    name = name.removeprefix("linalg_").removeprefix("special_")
    return _SAME.get(name, name)


_SAME = {
    "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div", "true_divide": "div",
    "divide": "div", "subtract": "sub", "multiply": "mul", "negative": "neg", "absolute": "abs", "expit": "sigmoid",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "clip": "clamp",
    "logical_not": "not", "logical_and": "and", "logical_or": "or", "and_": "and", "or_": "or", "invert": "not",
    "concat": "cat", "concatenate": "cat", "vector_norm": "norm", "log_sigmoid": "logsigmoid",
}  # fmt: skip
