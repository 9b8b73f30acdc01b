"""What forward() computes with gradients switched off (``torch.no_grad()``): the graph stops them there as well."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, fx, nn

from .inplace import writes_in_place

#: What gives sizes and the like.
_NO_TENSORS = ("size", "dim", "numel", "__len__", getattr)


def detached(value: Any) -> Any:
    """A tensor without its gradient, or the tensors of a tuple or list; anything else as it is."""
    if isinstance(value, fx.Proxy):  # of a graph that is traced again
        return value.tracer.create_proxy("call_function", detached, (value,), {})
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(detached(each) for each in value)
    return value.detach() if isinstance(value, Tensor) else value


def stop_gradients(model: nn.Module, graph: fx.Graph, off: set[fx.Node]) -> None:
    """Stop gradients around the nodes that were written with gradients switched ``off``::

        with torch.no_grad():       before:  body = call_module[body](x)   after:  body = call_module[body](x)
            x = self.body(x)                 head = call_module[head](body)        detached = detached(body)
        return self.head(x)                                                        head = call_module[head](detached)

    Something that such a node overwrites is handed to it without gradient, for autograd allows no more there. Where all
    that is returned is without gradients nothing is stopped: such a forward() says that the model is not being trained,
    and nothing of what is frozen in it.
    """
    off = {node for node in off if node.target not in _NO_TENSORS}
    for node in graph.nodes:  # a part of a tuple is what the tuple is
        if node.target is operator.getitem and node.args[0] in off:
            off.add(node)
    end = next(node for node in reversed(graph.nodes) if node.op == "output")
    if not off or all(node in off for node in end.all_input_nodes):
        return
    for node in [node for node in graph.nodes if node in off]:
        first = node.args[0] if node.args and node.op != "call_module" else None
        if isinstance(first, fx.Node) and first not in off and writes_in_place(model, node):
            with graph.inserting_before(node):
                node.replace_input_with(first, _after(graph, first))
        users = [user for user in node.users if user not in off]
        if users:
            with graph.inserting_after(node):
                stopped = _after(graph, node)
            for user in users:
                user.replace_input_with(node, stopped)


def _after(graph: fx.Graph, source: fx.Node) -> fx.Node:
    stopped = graph.call_function(detached, (source,))
    if scopes := source.meta.get("nn_module_stack"):
        # A module kept whole is the last one of its own scopes.
        names = [*scopes][: len(scopes) - 1] if source.op == "call_module" else [*scopes]
        stopped.meta["nn_module_stack"] = type(scopes)((name, scopes[name]) for name in names)
    return stopped
