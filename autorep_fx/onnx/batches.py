"""A graph for batches of any size, from the graphs of two.

What differs between a walk on two samples and one on three is the batch: numbers that grow with it become arithmetic on
the input's size, constants that repeat for each sample one row that is expanded.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import TraceError


def for_any_batch(two: fx.GraphModule, three: fx.GraphModule) -> fx.GraphModule:
    """``two`` made to hold for every size; both come from one file, on 2 and on 3 samples.

    Raises:
        TraceError: they differ in more than sizes; names the node.
    """
    nodes, others = list(two.graph.nodes), list(three.graph.nodes)
    if [(n.op, n.target) for n in nodes] != [(n.op, n.target) for n in others]:
        raise TraceError("what the network computes depends on the size of the batch; keep axis 0 the batch")
    sizes = _Sizes(two)
    for node, other in zip(nodes, others):
        if node.op == "get_attr":
            _expand(two, three, node, sizes)
            continue
        with two.graph.inserting_before(node):
            node.args = tuple(sizes.merged(node, a, b) for a, b in zip(node.args, other.args))
            node.kwargs = {key: sizes.merged(node, node.kwargs[key], other.kwargs[key]) for key in node.kwargs}
    two.graph.lint()
    two.recompile()
    return two


class _Sizes:
    """Sizes of the batch as nodes, each made where it is needed."""

    def __init__(self, gm: fx.GraphModule):
        self.graph = gm.graph
        self.x = next(node for node in gm.graph.nodes if node.op == "placeholder")
        self.size: fx.Node | None = None

    def batch(self) -> fx.Node:
        if self.size is None:
            behind = [node for node in self.graph.nodes if node.op == "placeholder"][-1]
            with self.graph.inserting_after(behind):
                self.size = self.graph.call_method("size", (self.x, 0))
        return self.size

    def merged(self, node: fx.Node, two: Any, three: Any) -> Any:
        if isinstance(two, (tuple, list)) and isinstance(three, (tuple, list)) and len(two) == len(three):
            return type(two)(self.merged(node, a, b) for a, b in zip(two, three))
        if isinstance(two, slice) and isinstance(three, slice):
            parts = ((two.start, three.start), (two.stop, three.stop), (two.step, three.step))
            return slice(*(self.merged(node, a, b) for a, b in parts))
        if isinstance(two, fx.Node) or two == three:
            return two
        if not (isinstance(two, int) and isinstance(three, int)):
            raise TraceError(f"node '{node.name}' depends on the size of the batch: {two} for 2 samples, {three} for 3")
        factor = three - two
        size: Any = self.batch()
        if factor != 1:
            size = self.graph.call_function(operator.mul, (size, factor))
        return size if two == 2 * factor else self.graph.call_function(operator.add, (size, two - 2 * factor))


def _expand(gm: fx.GraphModule, other: fx.GraphModule, node: fx.Node, sizes: _Sizes) -> None:
    """A constant that has a row for each sample keeps one::

    before:  token = get_attr[token]  (2, 1, 8)        after:  token = get_attr[token]  (1, 1, 8)
                                                               expand = token.expand(size, -1, -1)
    """
    path = str(node.target)
    two, three = _tensor(gm, path), _tensor(other, path)
    if two.shape == three.shape and torch.equal(two, three):
        return
    rows = two.dim() > 0 and two.shape[1:] == three.shape[1:] and (len(two), len(three)) == (2, 3)
    if not rows or not (torch.equal(two, two[:1].expand_as(two)) and torch.equal(three, two[:1].expand_as(three))):
        raise TraceError(f"the constant '{path}' depends on the size of the batch, and not by a row for each sample")
    one = two[:1].detach().clone()
    parent, _, name = path.rpartition(".")
    setattr(gm.get_submodule(parent), name, nn.Parameter(one) if isinstance(two, nn.Parameter) else one)
    batch = sizes.batch()
    with gm.graph.inserting_after(node):
        whole = gm.graph.call_method("expand", (node, batch, *(-1,) * (two.dim() - 1)))
    node.replace_all_uses_with(whole, delete_user_cb=lambda user: user is not whole)


def _tensor(gm: fx.GraphModule, path: str) -> Tensor:
    parent, _, name = path.rpartition(".")
    return getattr(gm.get_submodule(parent), name)
