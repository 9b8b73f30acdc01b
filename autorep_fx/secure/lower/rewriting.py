"""A graph on its way into another whose batch is in front (batch_first.py): what rules of its operations go by."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from ...graph.scopes import unique_target
from ...text import brief


@dataclass(frozen=True)
class Layout:
    """Where the batch is in a value of the model, and how many rows there each sample has."""

    axis: int
    count: int

    __repr__ = brief

    @property
    def plain(self) -> bool:
        return self.axis == 0 and self.count == 1

    def dim(self, old: int, axes: int) -> int | None:
        """The axis that has become of one of the model's value with so many axes; None of the batch's."""
        old %= axes
        if old == self.axis:
            return None
        return old + 1 if old < self.axis else old + (self.count > 1)

    def split(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that has become of this one, with -1 for the batch."""
        rows = (self.count,) if self.count > 1 else ()
        return (-1, *shape[: self.axis], *rows, *shape[self.axis + 1 :])


def layout_of(small: Any, large: Any) -> Layout | None:
    """By the values for batches of 2 and of 3."""
    if not isinstance(small, Tensor) or not isinstance(large, Tensor) or small.dim() != large.dim():
        return None
    differ = [axis for axis, sizes in enumerate(zip(small.shape, large.shape)) if sizes[0] != sizes[1]]
    if len(differ) != 1:
        return None
    two, three = small.shape[differ[0]], large.shape[differ[0]]
    return Layout(differ[0], two // 2) if two % 2 == 0 and three * 2 == two * 3 else None


class Rewriting:
    """One graph, on its way into another."""

    def __init__(self, gm: fx.GraphModule, small: dict[fx.Node, Any], large: dict[fx.Node, Any],
                 private: Container[fx.Node]):  # fmt: skip
        self.gm, self.small, self.large, self.private = gm, small, large, private
        self.graph = fx.Graph()
        self.input = next(n for n in gm.graph.nodes if n.op == "placeholder" and n in private)
        self.same: dict[fx.Node, Any] = {}  # with the value that the model has there; of a size the number
        self.split: dict[fx.Node, fx.Node] = {}  # with the batch in front
        self.samples: fx.Node | None = None  # how many
        self.parted: set[fx.Node] = set()  # gives several values, all with the batch in front

    def size(self, small: Any, large: Any) -> Any:
        """A size, which may be taken from what is split now: the number, or that of samples times one."""
        if not isinstance(small, int) or isinstance(small, bool):
            return None
        if small == large:
            return small
        if small % 2 or 3 * small != 2 * large:
            return None
        if self.samples is None:
            self.samples = self.graph.create_node("call_method", "size", (self.same[self.input], 0), {}, "samples")
        return self.samples if small == 2 else self.call(operator.mul, (self.samples, small // 2), "samples")

    # --- for rules ---------------------------------------------------------------------------------------------------

    def layout(self, node: fx.Node) -> Layout | None:
        return layout_of(self.small.get(node), self.large.get(node))

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(self.small[node].shape)

    def as_it_is(self, node: fx.Node) -> Any:
        """What gives the value that the model has at a node."""
        if node not in self.same:
            x, layout, shape = self.split[node], self.layout(node), self.shape(node)
            if layout is not None and layout.axis:
                order = [*range(1, layout.axis + 1), 0, *range(layout.axis + 1, len(layout.split(shape)))]
                x = self.call(torch.permute, (x, tuple(order)), node.name)
            if layout is not None and layout.count > 1:
                x = self.call(torch.reshape, (x, (*shape[: layout.axis], -1, *shape[layout.axis + 1 :])), node.name)
            self.same[node] = x
        return self.same[node]

    def in_front(self, node: fx.Node) -> fx.Node | None:
        """What gives it with the batch in front; None: a sample has no place of its own in it."""
        if node in self.split:
            return self.split[node]
        layout, shape = self.layout(node), self.shape(node) if isinstance(self.small[node], Tensor) else ()
        if layout is None or layout.count > 1:
            return None
        x = self.same[node]
        if layout.axis:
            order = (layout.axis, *(axis for axis in range(len(shape)) if axis != layout.axis))
            x = self.split[node] = self.call(torch.permute, (x, order), node.name)
        return x

    def constant(self, node: fx.Node, layout: Layout, axes: int) -> fx.Node | None:
        """A constant that goes with a value of ``axes`` axes; None: each sample has one of its own."""
        value = self.small[node]
        if not isinstance(value, Tensor) or value.numel() == 1 or value.dim() < axes - layout.axis:
            return self.same[node]
        value = value.detach().reshape((*(1,) * (axes - value.dim()), *value.shape))
        size = value.shape[layout.axis]
        if size == 1:
            value = value.unsqueeze(layout.axis + 1)
        elif size == 2 * layout.count:
            value = value.unflatten(layout.axis, (2, layout.count))
            one = value.narrow(layout.axis, 0, 1)
            many = self.large[node].detach().reshape(value.shape[: layout.axis] + (3, *value.shape[layout.axis + 1 :]))
            if not (value == one).all() or not (many == one).all():
                return None
            value = one
        else:
            return None
        if layout.count == 1:
            value = value.squeeze(layout.axis + 1)
        return self.held(value.movedim(layout.axis, 0).contiguous())

    def held(self, value: Tensor) -> fx.Node:
        name = unique_target(self.gm, "held")
        self.gm.register_buffer(name, value.detach().clone())
        return self.graph.get_attr(name)

    def call(self, function: Callable, args: tuple, name: str, **kwargs: Any) -> fx.Node:
        return self.graph.create_node("call_function", function, args, kwargs, name)

    def again(self, node: fx.Node, args: tuple, kwargs: dict | None = None) -> fx.Node:
        """The same operation on other arguments, of the new graph or of the old one."""

        def same(value: fx.Node) -> fx.Node:
            return value if value.graph is self.graph else self.as_it_is(value)

        args, kwargs = fx.node.map_arg((args, dict(node.kwargs) if kwargs is None else kwargs), same)
        return self.graph.create_node(node.op, node.target, args, kwargs, node.name)

    def operand(self, value: Any, layout: Layout, axes: int) -> Any:
        """An argument that goes with a value of this layout, element by element or from behind."""
        if not isinstance(value, fx.Node) or not isinstance(self.small[value], Tensor):
            return value
        if value not in self.private:
            return self.constant(value, layout, axes)
        own = self.layout(value)
        return self.in_front(value) if own == layout and self.small[value].dim() == axes else None
