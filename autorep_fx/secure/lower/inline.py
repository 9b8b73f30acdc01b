"""Modules that tracing kept whole, opened up for eval mode."""

from __future__ import annotations

from torch import fx, nn

from ...errors import TraceError
from ...graph.passes import Pass
from ...graph.trace import eval_graph


class InlineLeaves(Pass):
    """Put the eval-mode graph of a module in the place of its call, where the program has no operation for it::

        before:  drop = call_module[drop](conv2)      stochastic depth: other structure in train than in eval mode
                 add = relu + drop
        after:   add = relu + conv2

    Only modules outside of torch.nn that can be traced; what is left is for lowering to refuse.

    Args:
        known: module types that stay.
    """

    def __init__(self, known: set[type[nn.Module]]):
        self.known = known

    def requires(self, gm: fx.GraphModule) -> None:
        if gm.training:
            raise ValueError("InlineLeaves needs a graph in eval mode; call eval() first")

    def run(self, gm: fx.GraphModule) -> None:
        for node in list(gm.graph.nodes):
            graph = self._graph_of(gm, node)
            if graph is None:
                continue
            inputs = [n for n in graph.nodes if n.op == "placeholder"]
            arguments = dict(zip(inputs, node.args))
            arguments.update((n, node.kwargs[n.target]) for n in inputs if n.target in node.kwargs)
            arguments.update((n, n.args[0]) for n in inputs if n not in arguments and n.args)
            for inner in graph.nodes:
                if inner.op in ("call_module", "get_attr"):
                    inner.target = f"{node.target}.{inner.target}"
            with gm.graph.inserting_before(node):
                result = gm.graph.graph_copy(graph, arguments)
            node.replace_all_uses_with(result)
            gm.graph.erase_node(node)

    def _graph_of(self, gm: fx.GraphModule, node: fx.Node) -> fx.Graph | None:
        if node.op != "call_module":
            return None
        module = gm.get_submodule(node.target)
        if type(module) in self.known or type(module).__module__.startswith(("torch.nn", "torch.ao.nn")):
            return None
        try:
            return eval_graph(module)
        except TraceError:  # lowering names the node
            return None
