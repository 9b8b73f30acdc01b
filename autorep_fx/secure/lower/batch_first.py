"""Graphs that fold an axis into that of the batch, or move it: attention in windows, layers over (T, N, C).

    before:  view = x.view(-1, 7, 7, 96)                  after:  view = x.reshape(-1, 64, 7, 7, 96)
             qkv = call_module[qkv](view)                         qkv = call_module[qkv](view)
             mean = qkv.mean(1)                                   mean = qkv.mean(2)

In what two parties compute the batch is in front, by itself. So a value of which axis ``axis`` has ``count`` rows of
each sample, those of one sample together, becomes one whose axis 0 is the batch and whose axis ``axis + 1`` are the
rows. Shapes are those of the example. What has no rule (batch_rules.py) stays as it is, and is refused by its own
lowering.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from torch import fx

from .batch_rules import NEEDS_IT_IN_FRONT, rule_of
from .rewriting import Rewriting, layout_of

#: What takes the type of a tensor, and its shape from elsewhere.
_NEW = ("new_zeros", "new_ones", "new_full", "new_tensor")


def with_batch_first(
    gm: fx.GraphModule, small: dict[fx.Node, Any], large: dict[fx.Node, Any], private: Container[fx.Node]
) -> fx.GraphModule | None:
    """The graph with its batch in front; None where it is there already, wherever an operation asks for it.

    Args:
        gm: a graph that the caller owns; it gets constants.
        small, large: the values of its nodes for a batch of 2 and for one of 3.
        private: the nodes that depend on the input.
    """
    moved = False
    for node in gm.graph.nodes:
        layout = layout_of(small.get(node), large.get(node)) if node in private else None
        moved |= layout is not None and (layout.count > 1 or layout.axis > 0 and rule_of(gm, node) in NEEDS_IT_IN_FRONT)
    if not moved:
        return None
    return fx.GraphModule(gm, _rewritten(Rewriting(gm, small, large, private)), gm.__class__.__name__)


def _rewritten(r: Rewriting) -> fx.Graph:
    for node in r.gm.graph.nodes:
        size = None if node.op == "placeholder" else r.size(r.small.get(node), r.large.get(node))
        if size is not None:
            r.same[node] = size
            continue
        if node.target in _NEW and node.args and node.args[0] in r.split:
            r.same[node] = r.again(node, (r.input, *node.args[1:]))
            continue
        layouts = [r.layout(n) for n in [node, *node.all_input_nodes] if n in r.private]
        changes = any(layout is None or not layout.plain for layout in layouts) and node.op != "output"
        rule = rule_of(r.gm, node) if node in r.private and changes else None
        made = rule(r, node) if rule is not None else None
        if made is None:
            r.same[node] = r.graph.node_copy(node, r.as_it_is)
        else:
            made.meta = {**node.meta}
            r.split[node] = made
    return r.graph
