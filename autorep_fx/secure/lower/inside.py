"""What functions do that torch.fx.wrap kept whole, for samples of one shape."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from ...errors import CompileError
from ...graph import sizes
from ...graph.augmented import settle_augmented
from ...graph.concrete import Counted, Shaped, Values
from ...graph.randomness import GlobalGenerators
from ...graph.several import Batch
from ...graph.tracer import Tracer

#: Packages whose functions are operations; None is said by those that are written in C.
_OPERATIONS = ("torch", "_operator", "math", "builtins", __name__.partition(".")[0], None)


def look_inside(gm: fx.GraphModule, x: Batch) -> fx.GraphModule:
    """A graph in eval mode with the operations of such functions in their place::

        before:  attention = call_function[shifted_window_attention](x, ...)
        after:   pad = call_function[torch.nn.functional.pad](x, ...)   ... and whatever else it does

    Sizes are those of ``x``, two samples, but for the batch's. What depends on no input stays whole, and is computed.

    Raises:
        CompileError: a function cannot be traced, or draws random numbers; names the node.
    """
    private = {node for node in gm.graph.nodes if node.op == "placeholder"}
    for node in gm.graph.nodes:
        if not private.isdisjoint(node.all_input_nodes):
            private.add(node)
    kept = {node for node in private if _is_function(node)}
    if not kept:
        return gm
    values = Values(gm, x, gm)
    tracer = Tracer(values=values)
    graph, new = tracer.into(gm), dict[fx.Node, Any]()
    for node in gm.graph.nodes:
        if node in kept:
            new[node] = _traced(tracer, node, map_arg((node.args, node.kwargs), new.__getitem__))
        else:
            new[node] = graph.node_copy(node, new.__getitem__)
            if node.op != "output":
                values.add(new[node])
    settle_augmented(gm, graph)
    return fx.GraphModule(gm, graph, gm.__class__.__name__)


def _is_function(node: fx.Node) -> bool:
    if node.op != "call_function" or not isinstance(node.target, FunctionType):
        return False
    return (node.target.__module__ or "torch").partition(".")[0] not in _OPERATIONS


def _traced(tracer: Tracer, node: fx.Node, given: Any) -> Any:
    """What the function of a node gives, in nodes of the new graph."""
    function: Any = node.target
    before = GlobalGenerators()
    try:
        args, kwargs = map_arg(given, lambda each: _proxy(tracer, each))
        with sizes.recorded(), torch.enable_grad():
            found = tracer.create_arg(function(*args, **kwargs))
        drew = before.used()
    except Exception as error:
        raise CompileError(_refusal(node, f"cannot be looked into ({error}); leave that off")) from error
    finally:
        before.restore()
    if drew:
        raise CompileError(_refusal(node, "draws random numbers in eval mode, too; put these behind 'if training'"))
    return found


def _refusal(node: fx.Node, why: str) -> str:
    name = getattr(node.target, "__name__", "")
    return (
        f"this graph cannot run between two parties:\n  - node '{node.name}' ({name}): is kept whole by "
        f"torch.fx.wrap, and {why}"
    )


def _proxy(tracer: Tracer, node: fx.Node) -> fx.Proxy:
    return Shaped(node, tracer) if isinstance(tracer.values[node], Tensor) else Counted(node, tracer)
