"""Which nodes a result depends on in eval mode: what is computed beside it, for a loss or a log, is nobody's."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable

from torch import fx, nn

from .functions import KeptFunction
from .inplace import memory_owners, writes_in_place
from .modes import ModeSelect
from .targets import module_of

#: Packages whose functions do nothing but what their names say; None is said by those that are written in C.
_KNOWN = {"torch", "_operator", "math", "builtins", __name__.partition(".")[0], None}


def read(gm: fx.GraphModule, memory: Callable[[fx.Node], Iterable[Hashable]] | None = None) -> set[fx.Node]:
    """The nodes that the output of ``gm`` depends on in eval mode.

    What writes in place counts where its memory is read later; at any time, if it is a parameter's or a buffer's, for
    the next run reads what is before. What another package does is not known, and counts always.

    memory: the memories that each node's value lives in; None: what can be told from the graph.
    """
    if memory is None:
        owner = memory_owners(gm)

        def memory(node: fx.Node) -> list[Hashable]:
            held = owner[node]
            return [held.target if held.op == "get_attr" else held]

    order = {node: i for i, node in enumerate(gm.graph.nodes)}
    lasting = {each for node in gm.graph.nodes if node.op == "get_attr" for each in memory(node)}
    overwrites = {node: into for node in gm.graph.nodes if (into := written(gm, node)) is not None}
    found: set[fx.Node] = set()
    last: dict[Hashable, float] = {}  # when a memory is read for the last time
    waiting = [node for node in gm.graph.nodes if node.op == "output" or _may_do_more(gm, node)]
    while waiting:
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            for source in _needed(gm, node):
                for each in memory(source):
                    last[each] = math.inf if each in lasting else max(last.get(each, -1), order[node])
                waiting.append(source)
        waiting = [
            node for node, into in overwrites.items() if node not in found
            and any(order[node] < last.get(each, -1) for each in memory(into))
        ]  # fmt: skip
    return found


def _needed(gm: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """What a node reads in eval mode."""
    if node.op == "call_module" and isinstance(module_of(gm, node), ModeSelect):
        return [node.args[1]] if isinstance(node.args[1], fx.Node) else _inside(node.args[1])
    return node.all_input_nodes


def _inside(value) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return found


def written(gm: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The node whose memory ``node`` writes into in eval mode; None: it writes into none."""
    if node.op not in ("call_module", "call_function", "call_method") or _is_dropout(gm, node):
        return None
    out = node.kwargs.get("out")
    if isinstance(out, fx.Node):
        return out
    sources = node.all_input_nodes
    return sources[0] if sources and writes_in_place(gm, node) else None


def _is_dropout(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(module_of(gm, node), nn.modules.dropout._DropoutNd)
    return node.op == "call_function" and "dropout" in getattr(node.target, "__name__", "")


def _may_do_more(gm: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(module_of(gm, node), KeptFunction)
    if node.op != "call_function":
        return False
    module = getattr(node.target, "__module__", None)
    return (module and module.partition(".")[0]) not in _KNOWN
